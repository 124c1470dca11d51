"""What an assertion is: its name, its value, what it looks at, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ggship.evals.instruments import Instruments
from ggship.evals.suite import Assertion
from ggship.runtimes.model import Message, ToolCall

Value = Literal["text", "texts", "none", "json", "json?"]
Need = Literal["base", "judge", "embedder"]
NEGATION = "not-"
TOLERANCE = 1e-7  # of a score against its threshold: rouge-l of equal texts is 1 - 5e-9


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, and all that an assertion may look at beside it.

    text: white space at both ends taken off. finish: as the endpoint says it. messages: what was asked. base: the
    answer of the base, or of the model compared with, to the same; None where there is none. tools: what was offered.
    """

    text: str
    finish: str = "stop"
    seconds: float | None = None
    messages: tuple[Message, ...] = ()
    base: str | None = None
    calls: tuple[ToolCall, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: an answer under one assertion of the suite, with the instruments to judge it."""

    said: Said
    assertion: Assertion
    instruments: Instruments

    @property
    def text(self) -> str:
        """The answer."""
        return self.said.text

    @property
    def value(self) -> str:
        """The assertion's value, where it is one text; JSON text where it is any other one thing."""
        return self.assertion.value if isinstance(self.assertion.value, str) else ""

    @property
    def values(self) -> tuple[str, ...]:
        """The assertion's value, where it is a list."""
        return self.assertion.value if isinstance(self.assertion.value, tuple) else (self.value,)

    @property
    def threshold(self) -> float:
        """Where the assertion begins to hold."""
        return self.assertion.threshold or 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of it. score: 0..1. reason: one line for a reader, written for `passed` as it is."""

    passed: bool
    score: float
    reason: str


Check = Callable[[Subject], Judgement]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of assertion: what its value is, whether it has a threshold and which it has unless told.

    value: "json" is anything YAML can say, "json?" may be left out. needs: what must be at hand to judge it.
    """

    name: str
    check: Check
    value: Value
    about: str
    threshold: float | None = None
    threshold_is: Literal["none", "score", "count"] = "none"
    counts_tokens: bool = False
    validate: Callable[[str], None] | None = None
    needs: tuple[Need, ...] = ()


REGISTRY: dict[str, Kind] = {}


def assertion(
    name: str,
    value: Value,
    about: str,
    *,
    threshold: float | None = None,
    threshold_is: Literal["none", "score", "count"] = "none",
    counts_tokens: bool = False,
    validate: Callable[[str], None] | None = None,
    needs: tuple[Need, ...] = (),
) -> Callable[[Check], Check]:
    """Register the function under that name. `validate` raises UsageError for a value that cannot be meant.

    threshold: None where `threshold_is` says that there is one: then a suite has to give it.
    """

    def register(check: Check) -> Check:
        REGISTRY[name] = Kind(name, check, value, about, threshold, threshold_is, counts_tokens, validate, needs)
        return check

    return register


def names() -> tuple[str, ...]:
    """Every type a suite may name, the negated ones too."""
    return tuple(REGISTRY) + tuple(NEGATION + name for name in REGISTRY)


def known(type_: str) -> bool:
    """Whether a suite may name this type."""
    return type_ in REGISTRY or type_.removeprefix(NEGATION) in REGISTRY


def kind_of(type_: str) -> Kind:
    """The registered kind behind a type; KeyError where there is none."""
    return REGISTRY[type_ if type_ in REGISTRY else type_.removeprefix(NEGATION)]


def judge(said: Said, assertion_: Assertion, instruments: Instruments) -> Judgement:
    """Hold one answer against one assertion. ToolFailed or ServerError where it could not be judged."""
    kind = kind_of(assertion_.type)
    found = kind.check(Subject(said, assertion_, instruments))
    if assertion_.type == kind.name:
        return found
    return Judgement(not found.passed, 1.0 - found.score, f"must not hold: {found.reason}")


def yes_no(passed: bool, yes: str, no: str) -> Judgement:
    """A judgement without shades."""
    return Judgement(passed, float(passed), yes if passed else no)


def at_least(subject: Subject, score: float, how: str = "") -> Judgement:
    """A judgement by score and threshold."""
    passed = score >= subject.threshold - TOLERANCE
    said = f"{score:.3f}{f' {how}' if how else ''}, {subject.threshold:g} wanted"
    return Judgement(passed, min(1.0, max(0.0, score)), said)


def quoted(text: str, limit: int = 80) -> str:
    """The text for a reason."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"“{shown}”"


def listed(values: tuple[str, ...]) -> str:
    """Texts for a reason."""
    return ", ".join(quoted(value, 40) for value in values)
