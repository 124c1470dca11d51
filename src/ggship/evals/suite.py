"""What a suite is: the cases a model is asked, what their answers must hold, and the gates over all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ggship.runtimes.model import ChatOptions, Message

DEFAULT_GATES = ("pass_rate >= 1",)
SET = "assert-set"
"""The type of an assertion that is made of others."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """One thing that an answer must hold, in promptfoo's shape.

    type: a name of `assertions.REGISTRY`, with `not-` in front where it must not hold. value: what to compare with;
    None where the type needs nothing, canonical JSON text where it takes anything else than texts. weight: share in
    the case's score; 0 records it and lets it decide nothing. metric: the name under which its score is averaged over
    the suite (`metric.NAME` in gates); the type's own unless given. unit: char, word, jieba or auto, for types that
    count tokens.

    inner: of the type SET, what it is made of. It scores the weighted mean of these, and holds from its threshold on;
    without one, where each of them holds.
    """

    type: str
    value: str | tuple[str, ...] | None = None
    threshold: float | None = None
    weight: float = 1.0
    metric: str = ""
    unit: str = "auto"
    inner: tuple[Assertion, ...] = ()

    def each(self) -> Iterator[Assertion]:
        """Itself, or what it is made of: those that are held against the answer."""
        yield from self.inner or (self,)

    @property
    def name(self) -> str:
        """The metric that it counts for."""
        return self.metric or self.type


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation to be answered. weight: share in the pass rate; 0 where it is only asked and shown.

    repeat: how often it is asked, each time with the next seed. It passes where it passes `passes` times, all unless
    told; its score is the mean. threshold: the mean score from which an answer passes, whichever assertions hold; None
    where each of them must.

    Law: what no assertion decides is not scored: `scored_weight` is 0 where each of them weighs 0, or there is none.
    """

    id: str
    messages: tuple[Message, ...]
    assertions: tuple[Assertion, ...] = ()
    tags: tuple[str, ...] = ()
    weight: float = 1.0
    options: ChatOptions = field(default_factory=ChatOptions)
    repeat: int = 1
    passes: int | None = None
    threshold: float | None = None

    def each_assertion(self) -> Iterator[Assertion]:
        """Every assertion that is held against an answer, those in sets too, and no set."""
        for assertion in self.assertions:
            yield from assertion.each()

    def options_of_repeats(self) -> list[ChatOptions]:
        """How it is asked, each time."""
        return [replace(self.options, seed=self.options.seed + number) for number in range(self.repeat)]

    @property
    def wanted_passes(self) -> int:
        """How many of the repeats must pass."""
        return self.repeat if self.passes is None else self.passes

    @property
    def scored_weight(self) -> float:
        """What it weighs in the pass rate."""
        return self.weight if any(assertion.weight for assertion in self.assertions) else 0.0


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases in the order they are asked, and the gates.

    smoke: by smoke check, the share of answers that may break it (0 for those not named).
    """

    name: str
    cases: tuple[Case, ...]
    gates: tuple[str, ...] = ()
    smoke: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 over everything that can change a result, as canonical JSON; the name is not part of it."""
        return hashlib.sha256(canonical_json(self.content()).encode()).hexdigest()

    @property
    def metrics(self) -> frozenset[str]:
        """The names that `metric.NAME` may have in a gate: those of cases that are scored."""
        scored = [item for case in self.cases if case.scored_weight for item in case.assertions]
        return frozenset(item.name for outer in scored for item in (outer, *outer.inner))

    @property
    def tags(self) -> frozenset[str]:
        """The names that `tag.NAME.pass_rate` may have in a gate: those of cases that are scored."""
        return frozenset(tag for case in self.cases if case.scored_weight for tag in case.tags)

    def content(self) -> dict[str, Any]:
        """The suite as plain values, without its name."""
        return {
            "version": 1,
            "cases": [_case(case) for case in self.cases],
            "gates": list(self.gates),
            "smoke": dict(self.smoke),
        }


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _case(case: Case) -> dict[str, Any]:
    options = case.options
    return {
        "id": case.id,
        "messages": [dict(message) for message in case.messages],
        "assertions": [_assertion(item) for item in case.assertions],
        "tags": list(case.tags),
        "weight": case.scored_weight,
        "options": {
            "temperature": options.temperature,
            "seed": options.seed,
            "num_predict": options.num_predict,
            "num_ctx": options.num_ctx,
            "stop": list(options.stop),
            **({"tools": list(options.tools)} if options.tools else {}),
        },
        **({"repeat": [case.repeat, case.wanted_passes]} if case.repeat > 1 else {}),
        **({"threshold": case.threshold} if case.threshold is not None else {}),
    }


def _assertion(item: Assertion) -> dict[str, Any]:
    return {
        "type": item.type,
        "value": list(item.value) if isinstance(item.value, tuple) else item.value,
        "threshold": item.threshold,
        "weight": item.weight,
        "metric": item.metric,
        "unit": item.unit,
        **({"assert": [_assertion(one) for one in item.inner]} if item.inner else {}),
    }
