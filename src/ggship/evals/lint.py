"""Every mistake of a suite at once, what is odd in it, and what it takes to run it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.errors import UsageError
from ggship.evals.document import Place, read_document
from ggship.evals.judging import needs_of
from ggship.evals.load import read_suite
from ggship.evals.load_assert import named
from ggship.evals.suite import Assertion, Case, Suite

SMALL = 10
SHOWN_CASES = 5
_TAKES = {"base": "the base model", "judge": "--judge", "embedder": "--embedder"}


@dataclass(frozen=True, slots=True)
class Linted:
    """What was found. suite: the part of it that could be read; None where that is nothing."""

    suite: Suite | None
    mistakes: tuple[UsageError, ...]
    remarks: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """(name, value) lines for people."""
        if self.suite is None:
            return []
        scored = sum(bool(case.scored_weight) for case in self.suite.cases)
        rows = [("tests", f"{len(self.suite.cases)}, {scored} of them scored")]
        rows += [("gates", "; ".join(self.suite.gates))] if self.suite.gates else []
        return rows + [("needs", f"{_TAKES[need]} (`{type_}`)") for need, type_ in needs_of(self.suite).items()]

    def document(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "mistakes": [{"message": one.message, "where": one.where, "hint": one.hint} for one in self.mistakes],
            "remarks": list(self.remarks),
            "tests": len(self.suite.cases) if self.suite else None,
            "gates": list(self.suite.gates) if self.suite else [],
            "needs": sorted(needs_of(self.suite)) if self.suite else [],
            "digest": self.suite.digest if self.suite and not self.mistakes else None,
        }


def lint_suite(path: Path) -> Linted:
    """The suite in that file, looked at. UsageError where there is no file, or none that can be read as YAML."""
    root = read_document(path)
    mistakes: list[UsageError] = []
    try:
        suite = read_suite(root, path.stem, mistakes)
    except UsageError as error:
        return Linted(None, (*mistakes, error), ())
    return Linted(suite, tuple(mistakes), tuple(_remarks(suite, root)) if not mistakes else ())


def _remarks(suite: Suite, root: Place) -> Iterator[str]:
    scored = [case for case in suite.cases if case.scored_weight]
    if 0 < len(scored) < SMALL:
        yield f"{len(scored)} scored tests prove little: {SMALL} tell the pass rate to about 30 %, 100 to 10 %"
    if not scored:
        yield "no test is scored: nothing but the smoke checks decides"
    asked = Counter(_asked(case) for case in suite.cases)
    for same, count in asked.items():
        if count > 1:
            ids = [case.id for case in suite.cases if _asked(case) == same]
            yield f"{count} tests ask the same: {_some(ids)}"
    for case in suite.cases:
        if case.repeat > 1 and case.options.temperature == 0:
            yield f"{case.id}: asked {case.repeat} times with temperature 0, which gives the same answer each time"
            break
    always = [
        case.id
        for case in scored
        if case.threshold == 0 or all(item.threshold == 0 for item in case.assertions if item.weight)
    ]
    if always:
        yield f"a threshold of 0 holds for every answer: {_some(always)}"
    yield from _unused(root)


def _asked(case: Case) -> tuple[tuple[str, str], ...]:
    return tuple((turn["role"], turn["content"]) for turn in case.messages)


def _unused(root: Place) -> Iterator[str]:
    for test in root.entries()["tests"].items():
        fields = test.entries()
        if "vars" in fields:
            used = set().union(*(named(place) for key, place in fields.items() if key != "vars"))
            used |= named(root.entries()["defaults"]) if "defaults" in root.entries() else set()
            for name, place in fields["vars"].entries().items():
                if name not in used:
                    yield f"line {place.line}: the variable `{name}` is used nowhere"


def outline(suite: Suite) -> list[tuple[str, str]]:
    """(id, what is asked and held) of every case, and the gates."""
    rows = [(case.id, "\n".join(_lines(case))) for case in suite.cases]
    return [*rows, *(("gate", rule) for rule in suite.gates)]


def _lines(case: Case) -> Iterator[str]:
    said = " ".join(case.messages[-1]["content"].split())
    turns = f" ({len(case.messages)} turns)" if len(case.messages) > 1 else ""
    tags = f"  [{', '.join(case.tags)}]" if case.tags else ""
    yield (said if len(said) <= 100 else said[:99] + "…") + turns + tags
    if case.threshold is not None:
        yield f"  passes from a score of {case.threshold:g}"
    for item in case.assertions:
        yield from _held(item)


def _held(item: Assertion, indent: str = "  ") -> Iterator[str]:
    if item.inner:
        yield f"{indent}all of these" if item.threshold is None else f"{indent}≥ {item.threshold:g} of these"
        for one in item.inner:
            yield from _held(one, indent + "  ")
    else:
        value = ", ".join(item.value) if isinstance(item.value, tuple) else item.value or ""
        short = " ".join(value.split())
        limit = f" ≥ {item.threshold:g}" if item.threshold is not None else ""
        yield f"{indent}{item.type}{limit} {short if len(short) <= 70 else short[:69] + '…'}".rstrip()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_CASES} more" if len(names) > SHOWN_CASES else ""
    return ", ".join(names[:SHOWN_CASES]) + more
