"""A contest as one page: every model's standing, and each case with what all of them said, beside the baseline."""

from __future__ import annotations

from dataclasses import dataclass

from ggship.evals import charts
from ggship.evals.contest import Contest, ContestCase
from ggship.evals.contest_view import short_names
from ggship.evals.gates import observed_text
from ggship.evals.marks import SHOWN_CHARACTERS, Shown, show, side_by_side
from ggship.evals.pages import render_page
from ggship.evals.report import Result
from ggship.evals.rows import LITTLE, MOST_CASES, MOST_TEXT, OPEN_CASES, one_line, size_of

LABELS = {"error": "Errors", "split": "They differ", "fail": "All failed", "pass": "All passed", "asked": "Not scored"}


@dataclass(frozen=True, slots=True)
class _Said:
    """What one model made of a case. side: base for the baseline, tuned for the others."""

    name: str
    side: str
    result: Result
    shown: Shown
    seconds: float | None


@dataclass(frozen=True, slots=True)
class _Row:
    case: ContestCase
    state: str
    question: str
    asked: Shown | None
    said: tuple[_Said, ...]
    open: bool


def render_contest(contest: Contest) -> str:
    """The page. Cases that the models do not agree on come first; the rest as the suite has them."""
    short = short_names([model.name for model in contest.models])
    order = {state: place for place, state in enumerate(LABELS)}
    judged = sorted(((case, _state(case)) for case in contest.cases), key=lambda pair: order[pair[1]])
    rows: list[_Row] = []
    left = MOST_TEXT
    for place, (case, state) in enumerate(judged[:MOST_CASES]):
        limit = SHOWN_CHARACTERS if left > 0 else LITTLE
        rows.append(_row(contest, short, case, state, limit, opened=place < OPEN_CASES // 2))
        left -= size_of([said.shown for said in rows[-1].said])
    counts = {state: sum(row.state == state for row in rows) for state in LABELS}
    sides = [
        ("base" if model.name == contest.baseline else "tuned", short[model.name], model.speed.seconds)
        for model in contest.models
    ]
    return render_page(
        "compare.html.j2",
        {
            "contest": contest,
            "short": short,
            "rows": rows,
            "left_out": len(judged) - len(rows),
            "filters": [(state, label, counts[state]) for state, label in LABELS.items() if counts[state]],
            "latency": charts.latency(sides),
            "gauge": charts.gauge,
            "observed": observed_text,
        },
    )


def _state(case: ContestCase) -> str:
    outcomes = {result.outcome for result in case.results.values()}
    if "error" in outcomes:
        return "error"
    if not case.weight:
        return "asked"
    return "split" if len(outcomes) > 1 else outcomes.pop()


def _row(contest: Contest, short: dict[str, str], case: ContestCase, state: str, limit: int, *, opened: bool) -> _Row:
    asked = case.messages[-1]["content"]
    base = case.results.get(contest.baseline)
    said = []
    for model in contest.models:
        result = case.results.get(model.name)
        if result is None:
            continue
        if model.name == contest.baseline or base is None:
            shown, side = show(result.text, limit), "base"
        else:
            shown, side = side_by_side(base.text, result.text, limit)[1], "tuned"
        said.append(_Said(short[model.name], side, result, shown, model.speed.seconds.get(case.id)))
    line = one_line(asked)
    return _Row(case, state, line, None if line == asked else show(asked, limit), tuple(said), opened)
