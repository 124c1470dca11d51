"""Reading a suite from YAML, strictly: what is not understood is an error with its line, never left out silently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ggship.errors import UsageError
from ggship.evals import gates, smoke
from ggship.evals.document import Place, did_you_mean, parse_document, read_document
from ggship.evals.load_assert import read_assertion
from ggship.evals.load_turns import read_messages, read_tools
from ggship.evals.suite import DEFAULT_GATES, Assertion, Case, Suite
from ggship.runtimes.model import ChatOptions

SUITE_KEYS = ("version", "name", "description", "defaults", "tests", "gates", "smoke")
DEFAULT_KEYS = ("options", "system", "vars", "assert", "threshold", "repeat", "passes", "tools")
TEST_KEYS = (
    "id",
    "description",
    "prompt",
    "messages",
    "system",
    "vars",
    "assert",
    "threshold",
    "tags",
    "weight",
    "options",
    "repeat",
    "passes",
    "tools",
)
OPTION_KEYS = ("temperature", "seed", "num_predict", "num_ctx", "stop")
MOST_REPEATS = 1_000


def load_suite(path: Path) -> Suite:
    """The suite in that file. Every mistake is a UsageError that names file, line and the nearest right word."""
    return read_suite(read_document(path), path.stem)


def parse_suite(text: str, name: str = "suite") -> Suite:
    """The suite in that text."""
    return read_suite(parse_document(text, name), name)


def add_gates(suite: Suite, rules: Iterable[str]) -> Suite:
    """The suite with these gates after its own, each once. UsageError where one is not understood."""
    more = (gates.parse_gate(rule, suite.metrics, suite.tags).rule for rule in rules)
    return replace(suite, gates=tuple(dict.fromkeys((*suite.gates, *more))))


def keep_tagged(suite: Suite, tags: Iterable[str]) -> Suite:
    """The suite with those cases alone that have one of the tags; all of them without any tag.

    UsageError where a tag is on no case, and where a gate speaks of what is no longer asked.
    """
    wanted = set(tags)
    if not wanted:
        return suite
    there = {tag for case in suite.cases for tag in case.tags}
    for tag in sorted(wanted - there):
        raise UsageError(f"no test has the tag `{tag}`", hint=did_you_mean(tag, there) if there else "no test has tags")
    kept = replace(suite, cases=tuple(case for case in suite.cases if wanted & set(case.tags)))
    for rule in kept.gates:
        try:
            gates.parse_gate(rule, kept.metrics, kept.tags)
        except UsageError as error:
            raise UsageError(
                f"the gate `{rule}` has nothing to observe in the tests with these tags", hint=error.hint
            ) from error
    return kept


def read_suite(root: Place, name: str, mistakes: list[UsageError] | None = None) -> Suite:
    """The suite at that place. mistakes: where those of tests and gates are kept; without it the first is raised."""
    fields = root.fields(SUITE_KEYS, required=("version", "tests"))
    version = fields["version"].integer(0, 10**6)
    if version != 1:
        raise fields["version"].error(f"version {version} of suites is not known", "this ggship reads `version: 1`")
    defaults = fields["defaults"].fields(DEFAULT_KEYS) if "defaults" in fields else {}
    tests = fields["tests"].items()
    if not tests:
        raise fields["tests"].error("the suite has no tests", "put at least one under `tests:`")
    suite = Suite(
        name=fields["name"].text() if "name" in fields else name,
        cases=_cases(tests, defaults, mistakes),
        smoke=_smoke(fields["smoke"]) if "smoke" in fields else {},
    )
    return replace(suite, gates=_gates(fields.get("gates"), suite, mistakes))


def _cases(
    tests: Iterable[Place], defaults: Mapping[str, Place], mistakes: list[UsageError] | None
) -> tuple[Case, ...]:
    cases: dict[str, Case] = {}
    places: dict[str, Place] = {}
    for number, test in enumerate(tests, start=1):
        with _kept(mistakes):
            case = _case(test, number, defaults)
            if case.id in cases:
                raise test.error(f"two tests have the id `{case.id}`", f"the first is in line {places[case.id].line}")
            cases[case.id], places[case.id] = case, test
    return tuple(cases.values())


@contextmanager
def _kept(mistakes: list[UsageError] | None) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if mistakes is None:
            raise
        mistakes.append(error)


def _gates(place: Place | None, suite: Suite, mistakes: list[UsageError] | None) -> tuple[str, ...]:
    if place is None:
        return DEFAULT_GATES if any(case.scored_weight for case in suite.cases) else ()
    rules = []
    for item in place.items():
        with _kept(mistakes):
            try:
                rules.append(gates.parse_gate(item.text(), suite.metrics, suite.tags).rule)
            except UsageError as error:
                raise item.error(error.message, error.hint) from error
    return tuple(rules)


def _smoke(place: Place) -> dict[str, float]:
    return {name: value.number(0, 1) for name, value in place.fields(smoke.CHECKS).items()}


def _case(test: Place, number: int, defaults: Mapping[str, Place]) -> Case:
    fields = test.fields(TEST_KEYS)
    variables = {**_variables(defaults.get("vars")), **_variables(fields.get("vars"))}
    checks = tuple(
        read_assertion(item, variables)
        for place in (defaults.get("assert"), fields.get("assert"))
        if place is not None
        for item in place.items()
    )
    repeat, passes = _repeat(fields, defaults)
    tools = read_tools(fields.get("tools") or defaults.get("tools"))
    return Case(
        id=_name(fields["id"]) if "id" in fields else f"case-{number}",
        messages=read_messages(test, fields, defaults, variables),
        assertions=checks,
        tags=tuple(item.text() for item in fields["tags"].items_or_one()) if "tags" in fields else (),
        weight=_weight(test, fields.get("weight"), checks),
        options=replace(_options(fields.get("options"), _options(defaults.get("options"), ChatOptions())), tools=tools),
        repeat=repeat,
        passes=passes,
        threshold=_threshold(fields.get("threshold"), defaults.get("threshold"), checks),
    )


def _repeat(fields: Mapping[str, Place], defaults: Mapping[str, Place]) -> tuple[int, int | None]:
    place = fields.get("repeat") or defaults.get("repeat")
    repeat = place.integer(1, MOST_REPEATS) if place else 1
    wanted = fields.get("passes") or (defaults.get("passes") if "repeat" not in fields else None)
    return repeat, wanted.integer(1, repeat) if wanted else None


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


def _threshold(place: Place | None, shared: Place | None, checks: tuple[Assertion, ...]) -> float | None:
    """What was written here, else for all; for a test that no assertion decides, nothing may be written here."""
    decided = any(check.weight for check in checks)
    if place is not None and not decided:
        raise place.error("there is no score to hold against the threshold", "it takes an assertion with a weight")
    found = place or (shared if decided else None)
    return found.number(0, 1) if found else None


def _name(place: Place) -> str:
    name = place.text().strip()
    if not name:
        raise place.error("an id needs at least one letter")
    return name


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
