"""The cases as the report page shows them: problems first, and no more text than a browser opens at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ggship.evals.marks import SHOWN_CHARACTERS, Shown, show, side_by_side
from ggship.evals.report import CaseReport, Report, Result
from ggship.evals.turns import conversation

MOST_CASES = 1_000  # the rest is in report.json; problems come first
MOST_TEXT = 3_000_000  # characters of questions and answers on one page; when they are spent, each text is cut early
LITTLE = 400
MARKUP = 100  # what a marked piece takes beside its text
OPEN_CASES = 12
ONE_LINE = 140
LABELS = {
    "error": "Errors",
    "regression": "Regressions",
    "fail": "Failed",
    "gain": "Gained",
    "pass": "Passed",
    "asked": "Not scored",
    "changed": "Changed",
}
_ORDER = {"error": 0, "regression": 1, "fail": 2, "gain": 3, "pass": 3, "asked": 3}


@dataclass(frozen=True, slots=True)
class Row:
    """A case as the page shows it. state: the worst that can be said of it; states: every filter that finds it."""

    case: CaseReport
    state: str
    states: str
    question: str
    turns: tuple[tuple[str, Shown], ...]
    tuned: Shown
    base: Shown | None
    thinking: Shown | None
    open: bool


def rows_of(report: Report) -> list[Row]:
    """At most MOST_CASES of them, errors and regressions first."""
    rows: list[Row] = []
    left = MOST_TEXT
    for place, (case, state) in enumerate(judged_cases(report)[:MOST_CASES]):
        rows.append(_row(case, state, SHOWN_CHARACTERS if left > 0 else LITTLE, opened=place < OPEN_CASES))
        row = rows[-1]
        left -= size_of([row.tuned, row.base, row.thinking, *(turn for _, turn in row.turns)])
    return rows


def judged_cases(report: Report) -> list[tuple[CaseReport, str]]:
    """Every case with its state, problems first."""
    regressions = set(report.comparison.regressions) if report.comparison else set()
    judged = [(case, _state(case, regressions)) for case in report.cases]
    judged.sort(key=lambda pair: _ORDER[pair[1]])
    return judged


def filters_of(rows: Sequence[Row]) -> list[tuple[str, str, int]]:
    """The filters that would find something: (state, label, how many)."""
    counts = {state: sum(state in row.states.split() for row in rows) for state in LABELS}
    return [(state, label, counts[state]) for state, label in LABELS.items() if counts[state]]


def _row(case: CaseReport, state: str, limit: int, *, opened: bool) -> Row:
    tuned, base = show(case.tuned.text, limit), None
    if case.base is not None:
        base, tuned = side_by_side(case.base.text, case.tuned.text, limit)
    asked = case.messages[-1]["content"]
    question = one_line(asked)
    states = {state} | ({"fail"} if state == "regression" else set()) | ({"pass"} if state == "gain" else set())
    whole = question == asked and len(case.messages) == 1
    return Row(
        case=case,
        state=state,
        states=" ".join(sorted(states | ({"changed"} if case.changed else set()))),
        question=question,
        turns=() if whole else tuple((role, show(text, limit)) for role, text in conversation(case)),
        tuned=tuned,
        base=base,
        thinking=show(case.tuned.thinking, limit) if case.tuned.thinking else None,
        open=opened,
    )


def one_line(asked: str) -> str:
    """A question for a heading."""
    question = " ".join(asked[: 10 * ONE_LINE].split())
    return question if len(question) <= ONE_LINE else question[: ONE_LINE - 1] + "…"


def size_of(shown: Iterable[Shown | None]) -> int:
    """What these texts take of a page, in characters."""
    return sum(len(piece.text) + MARKUP for one in shown if one is not None for piece in one.pieces)


def _state(case: CaseReport, regressions: set[str]) -> str:
    results: tuple[Result | None, ...] = (case.tuned, case.base)
    if any(result is not None and result.outcome == "error" for result in results):
        return "error"
    if not case.weight:
        return "asked"
    if case.id in regressions:
        return "regression"
    gained = case.tuned.outcome == "pass" and case.base is not None and case.base.outcome == "fail"
    return "gain" if gained else case.tuned.outcome
