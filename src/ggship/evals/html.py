"""The report as one HTML page that needs no other file and no network, and in which what a model said is inert."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ggship.evals import curve as curves
from ggship.evals.gates import number
from ggship.evals.marks import Shown, escape_odd, show, side_by_side
from ggship.evals.reference import figures
from ggship.evals.report import CaseReport, Gate, Report, Result
from ggship.evals.summary import percent
from ggship.settings import templates_dir

MOST_CASES = 1_000  # the rest is in report.json; problems come first
OPEN_CASES = 12
ONE_LINE = 140


@dataclass(frozen=True, slots=True)
class _Row:
    """A case as the page shows it. state: the worst that can be said of it; found: text that the search looks in."""

    case: CaseReport
    state: str
    states: str
    question: str
    turns: tuple[tuple[str, Shown], ...]
    tuned: Shown
    base: Shown | None
    found: str
    open: bool


def render_html(
    report: Report,
    *,
    curve: Sequence[curves.Point] = (),
    provenance: Sequence[tuple[str, str]] = (),
    timings: bool = False,
) -> str:
    """The page. curve: (step, loss, evaluation loss) of the training; provenance: rows of (name, value).

    Speeds and the time only with `timings`: without them the same answers give the same bytes.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = templates_dir() / "report"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, figure=_figure, seen=escape_odd)
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = (folder / "report.js").read_text(encoding="utf-8")
    judged = _judged(report)
    rows = [_row(case, state, place < OPEN_CASES) for place, (case, state) in enumerate(judged[:MOST_CASES])]
    values: dict[str, Any] = {
        "report": report,
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "rows": rows,
        "left_out": len(judged) - len(rows),
        "states": _states(rows),
        "gates": [(gate, _observed(gate, timings or gate in report.gates)) for gate in report.all_gates],
        "curve": curves.draw(curve),
        "provenance": list(provenance or report.provenance),
        "figures": figures(report.reference) if report.reference else [],
        "timings": timings,
    }
    return environment.get_template("report.html.j2").render(values)


def _judged(report: Report) -> list[tuple[CaseReport, str]]:
    """Every case with its state, problems first."""
    regressions = set(report.comparison.regressions) if report.comparison else set()
    order = {"error": 0, "regression": 1, "fail": 2, "gain": 3, "pass": 3, "asked": 3}
    judged = [(case, _state(case, regressions)) for case in report.cases]
    judged.sort(key=lambda pair: order[pair[1]])
    return judged


def _row(case: CaseReport, state: str, opened: bool) -> _Row:
    tuned, base = show(case.tuned.text), None
    if case.base is not None:
        base, tuned = side_by_side(case.base.text, case.tuned.text)
    question = " ".join(case.messages[-1]["content"].split())
    if len(question) > ONE_LINE:
        question = question[: ONE_LINE - 1] + "…"
    texts = [case.id, *case.tags, *(turn["content"] for turn in case.messages), case.tuned.text]
    texts += [case.base.text] if case.base else []
    states = {state} | ({"fail"} if state == "regression" else set()) | ({"pass"} if state == "gain" else set())
    return _Row(
        case=case,
        state=state,
        states=" ".join(sorted(states | ({"changed"} if case.changed else set()))),
        question=question,
        turns=() if question == case.messages[-1]["content"] and len(case.messages) == 1 else _turns(case),
        tuned=tuned,
        base=base,
        found=escape_odd(" ".join(" ".join(texts).split())[:4000].casefold()),
        open=opened,
    )


def _turns(case: CaseReport) -> tuple[tuple[str, Shown], ...]:
    return tuple((turn["role"], show(turn["content"])) for turn in case.messages)


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


def _states(rows: Sequence[_Row]) -> list[tuple[str, str, int]]:
    """The filters that would find something: (state, label, how many)."""
    labels = {
        "error": "Errors",
        "regression": "Regressions",
        "fail": "Failed",
        "gain": "Gained",
        "pass": "Passed",
        "asked": "Not scored",
        "changed": "Changed",
    }
    counts = {state: sum(state in row.states.split() for row in rows) for state in labels}
    return [(state, label, counts[state]) for state, label in labels.items() if counts[state]]


def _observed(gate: Gate, tell: bool) -> str:
    if not tell:
        return "in report.json"
    if gate.observed is None:
        return "nothing to observe"
    return number(gate.observed) + (" ({:.2f} to {:.2f})".format(*gate.interval) if gate.interval else "")


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
