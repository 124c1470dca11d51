"""Reading a suite from YAML, strictly: what is not understood is an error with its line, never left out silently."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ggship.errors import UsageError
from ggship.evals import assertions, gates, metrics, smoke
from ggship.evals.document import Place, did_you_mean, parse_document, read_document
from ggship.evals.suite import DEFAULT_GATES, Assertion, Case, Suite
from ggship.runtimes.model import ChatOptions, Message

SUITE_KEYS = ("version", "name", "description", "defaults", "tests", "gates", "smoke")
DEFAULT_KEYS = ("options", "system", "vars", "assert")
TEST_KEYS = ("id", "description", "prompt", "messages", "system", "vars", "assert", "tags", "weight", "options")
ASSERT_KEYS = ("type", "value", "threshold", "weight", "metric", "unit")
OPTION_KEYS = ("temperature", "seed", "num_predict", "num_ctx", "stop")
ROLES = ("system", "user", "assistant")
_VARIABLE = re.compile(r"(\\\{\{)|\{\{\s*([^{}]*?)\s*\}\}")


def load_suite(path: Path) -> Suite:
    """The suite in that file. Every mistake is a UsageError that names file, line and the nearest right word."""
    return _suite(read_document(path), path.stem)


def parse_suite(text: str, name: str = "suite") -> Suite:
    """The suite in that text."""
    return _suite(parse_document(text, name), name)


def add_gates(suite: Suite, rules: Iterable[str]) -> Suite:
    """The suite with these gates after its own. UsageError where one is not understood."""
    return replace(suite, gates=(*suite.gates, *(gates.parse_gate(rule, suite.metrics).rule for rule in rules)))


def _suite(root: Place, name: str) -> Suite:
    fields = root.fields(SUITE_KEYS, required=("version", "tests"))
    version = fields["version"].integer(0, 10**6)
    if version != 1:
        raise fields["version"].error(f"version {version} of suites is not known", "this ggship reads `version: 1`")
    defaults = fields["defaults"].fields(DEFAULT_KEYS) if "defaults" in fields else {}
    cases: dict[str, Case] = {}
    places: dict[str, Place] = {}
    for number, test in enumerate(fields["tests"].items(), start=1):
        case = _case(test, number, defaults)
        if case.id in cases:
            raise test.error(f"two tests have the id `{case.id}`", f"the first is in line {places[case.id].line}")
        cases[case.id], places[case.id] = case, test
    if not cases:
        raise fields["tests"].error("the suite has no tests", "put at least one under `tests:`")
    suite = Suite(
        name=fields["name"].text() if "name" in fields else name,
        cases=tuple(cases.values()),
        smoke=_smoke(fields["smoke"]) if "smoke" in fields else {},
    )
    return replace(suite, gates=_gates(fields.get("gates"), suite))


def _gates(place: Place | None, suite: Suite) -> tuple[str, ...]:
    if place is None:
        return DEFAULT_GATES if any(case.scored_weight for case in suite.cases) else ()
    rules = []
    for item in place.items():
        try:
            rules.append(gates.parse_gate(item.text(), suite.metrics).rule)
        except UsageError as error:
            raise item.error(error.message, error.hint) from error
    return tuple(rules)


def _smoke(place: Place) -> dict[str, float]:
    return {name: value.number(0, 1) for name, value in place.fields(smoke.CHECKS).items()}


def _case(test: Place, number: int, defaults: Mapping[str, Place]) -> Case:
    fields = test.fields(TEST_KEYS)
    variables = {**_variables(defaults.get("vars")), **_variables(fields.get("vars"))}
    checks = tuple(
        _assertion(item, variables)
        for place in (defaults.get("assert"), fields.get("assert"))
        if place is not None
        for item in place.items()
    )
    return Case(
        id=_name(fields["id"]) if "id" in fields else f"case-{number}",
        messages=_messages(test, fields, defaults, variables),
        assertions=checks,
        tags=tuple(item.text() for item in fields["tags"].items_or_one()) if "tags" in fields else (),
        weight=_weight(test, fields.get("weight"), checks),
        options=_options(fields.get("options"), _options(defaults.get("options"), ChatOptions())),
    )


def _weight(test: Place, place: Place | None, checks: tuple[Assertion, ...]) -> float:
    """What was written, else 1; 0 for a test that no assertion decides, and then nothing else may be written."""
    decided = any(check.weight for check in checks)
    weight = place.number(0, 10**6) if place is not None else float(decided)
    if weight and not checks:
        raise test.error("a test that asserts nothing cannot have a weight", "add `assert:`, or take the weight away")
    if weight and not decided:
        raise test.error(
            "a test whose assertions all weigh 0 cannot have a weight", "give one of them a weight, or take this away"
        )
    return weight


def _messages(
    test: Place, fields: Mapping[str, Place], defaults: Mapping[str, Place], variables: Mapping[str, str]
) -> tuple[Message, ...]:
    if ("prompt" in fields) == ("messages" in fields):
        raise test.error("a test has either `prompt` or `messages`, and one of them it needs")
    turns: list[Message] = []
    if "prompt" in fields:
        turns.append(Message(role="user", content=_text(fields["prompt"], variables)))
    for item in fields["messages"].items() if "messages" in fields else ():
        turn = item.fields(("role", "content"), required=("role", "content"))
        role = turn["role"].text()
        if role not in ROLES:
            raise turn["role"].error(f"unknown role `{role}`", did_you_mean(role, ROLES))
        turns.append(Message(role=role, content=_text(turn["content"], variables)))
    if not turns or turns[-1]["role"] != "user":
        raise test.error("a conversation ends with what the user says: that is what the model answers")
    system = fields.get("system") or defaults.get("system")
    if system is not None and turns[0]["role"] != "system":
        turns.insert(0, Message(role="system", content=_text(system, variables)))
    elif "system" in fields:
        raise fields["system"].error("the conversation already begins with a system message")
    return tuple(turns)


def _assertion(place: Place, variables: Mapping[str, str]) -> Assertion:
    fields = place.fields(ASSERT_KEYS, required=("type",))
    type_ = fields["type"].text()
    if type_ not in assertions.names():
        raise fields["type"].error(f"unknown assertion `{type_}`", did_you_mean(type_, assertions.names()))
    kind = assertions.kind_of(type_)
    if "threshold" in fields and kind.threshold_is == "none":
        raise fields["threshold"].error(f"`{type_}` has no threshold: it holds or it does not")
    if "unit" in fields and not kind.counts_tokens:
        raise fields["unit"].error(f"`{type_}` counts no tokens, so it has no unit")
    threshold = kind.threshold
    if "threshold" in fields:
        threshold = fields["threshold"].number(0, 1 if kind.threshold_is == "score" else 10**9)
    unit = fields["unit"].text() if "unit" in fields else "auto"
    if unit not in metrics.UNITS:
        raise fields["unit"].error(f"unknown unit `{unit}`", did_you_mean(unit, metrics.UNITS))
    return Assertion(
        type=type_,
        value=_value(place, fields.get("value"), kind, type_, variables),
        threshold=threshold,
        weight=fields["weight"].number(0, 10**6) if "weight" in fields else 1.0,
        metric=fields["metric"].text() if "metric" in fields else "",
        unit=unit,
    )


def _value(
    place: Place, value: Place | None, kind: assertions.Kind, type_: str, variables: Mapping[str, str]
) -> str | tuple[str, ...] | None:
    if kind.value == "none":
        if value is not None:
            raise value.error(f"`{type_}` takes no value")
        return None
    if value is None:
        raise place.error(f"`{type_}` needs a value: {kind.about}")
    if kind.value == "texts":
        texts = tuple(_nonempty(item, variables, type_) for item in value.items())
        if not texts:
            raise value.error(f"`{type_}` needs at least one text")
        return texts
    text = _text(value, variables) if kind.name == "equals" else _nonempty(value, variables, type_)
    if kind.validate is not None:
        try:
            kind.validate(text)
        except UsageError as error:
            raise value.error(error.message, error.hint) from error
    return text


def _name(place: Place) -> str:
    name = place.text().strip()
    if not name:
        raise place.error("an id needs at least one letter")
    return name


def _nonempty(place: Place, variables: Mapping[str, str], type_: str) -> str:
    text = _text(place, variables)
    if not text.strip():
        raise place.error(f"the value of `{type_}` is empty: every answer or none would hold it")
    return text


def _options(place: Place | None, inherited: ChatOptions) -> ChatOptions:
    if place is None:
        return inherited
    fields = place.fields(OPTION_KEYS)
    changes: dict[str, Any] = {}
    if "temperature" in fields:
        changes["temperature"] = fields["temperature"].number(0, 10)
    for name, low in (("seed", 0), ("num_predict", 1), ("num_ctx", 1)):
        if name in fields:
            changes[name] = fields[name].integer(low, 2**31 - 1)
    if "stop" in fields:
        changes["stop"] = tuple(item.text() for item in fields["stop"].items_or_one())
    return replace(inherited, **changes)


def _variables(place: Place | None) -> dict[str, str]:
    return {name: value.text() for name, value in place.entries().items()} if place is not None else {}


def _text(place: Place, variables: Mapping[str, str]) -> str:
    r"""The text with {{name}} filled in; \{{ stands for two braces. Nothing in it is ever run."""

    def fill(match: re.Match[str]) -> str:
        if match.group(1):
            return "{{"
        name = match.group(2)
        if name not in variables:
            near = did_you_mean(name, variables) if variables else "this test has no `vars`"
            raise place.error(f"unknown variable `{name}`", near + r"; for braces as they are write \{{")
        return variables[name]

    return _VARIABLE.sub(fill, place.text())
