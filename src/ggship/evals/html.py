"""The report as one HTML page that needs no other file and no network, and in which what a model said is inert."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ggship.evals import charts
from ggship.evals import curve as curves
from ggship.evals.gates import number
from ggship.evals.marks import Piece, show
from ggship.evals.pages import render_page
from ggship.evals.reference import figures
from ggship.evals.report import Gate, Report
from ggship.evals.rows import filters_of, rows_of
from ggship.evals.summary import people_line

# Control tokens as families of models write them: <|im_start|>, [INST], <<SYS>>, <s>, <start_of_turn>, <｜User｜>.
_CONTROL = re.compile(
    r"<[|｜][^\s<>]{1,60}[|｜]>|\[/?[A-Z_]{3,30}\]|<</?SYS>>|</?s>|<[a-z]+(?:_[a-z]+)+>|\[gMASK\]|<sop>"
)


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
    rows = rows_of(report)
    rival = "Base" if report.rival == "base" else "Other"
    fast, slow = report.timing.tuned, report.timing.base
    sides = [("tuned", "Tuned", fast.seconds)] + ([("base", rival, slow.seconds)] if slow else [])
    return render_page(
        "report.html.j2",
        {
            "report": report,
            "rival": rival,
            "rows": rows,
            "left_out": len(report.cases) - len(rows),
            "filters": filters_of(rows),
            "gates": [(gate, *_observed(gate, timings or gate in report.gates)) for gate in report.all_gates],
            "curve": curves.draw(curve),
            "latency": charts.latency(sides) if timings else None,
            "prompt": list(_control(show(report.prompt.text).pieces)) if report.prompt else [],
            "provenance": list(provenance or report.provenance),
            "people": people_line(report.humans) if report.humans else "",
            "figures": figures(report.reference) if report.reference else [],
            "timings": timings,
        },
    )


def _observed(gate: Gate, tell: bool) -> tuple[str, str, charts.Gauge | None]:
    """What was observed, its interval, and both on a scale; of a gate on speed only where the page tells times."""
    if not tell:
        return "in report.json", "", None
    if gate.observed is None:
        return "nothing to observe", "", None
    interval = "{:.2f} to {:.2f}".format(*gate.interval) if gate.interval else ""
    return number(gate.observed), interval, charts.gauge(gate)


def _control(pieces: Sequence[Piece]) -> Iterator[tuple[str, str]]:
    """(text, what it is): control, odd or nothing special."""
    for piece in pieces:
        if piece.odd:
            yield piece.text, "odd"
            continue
        end = 0
        for match in _CONTROL.finditer(piece.text):
            yield piece.text[end : match.start()], ""
            yield match.group(), "control"
            end = match.end()
        yield piece.text[end:], ""
