"""The figures of a load as people read them: in a table of 80 columns, in rows, in a page."""

from __future__ import annotations

from collections.abc import Sequence

from ggship.evals.bench.report import BenchReport, Level, Spread
from ggship.evals.gates import number

HEAD = (
    (" at", "answers", "tokens", "", "first word", "", "seconds an answer takes", "", "", "", ""),
    ("once", "/s", "/s", "/s each", "p50", "p95", "p50", "p90", "p95", "p99", "errors"),
)
_WIDTHS = (4, 8, 8, 8, 7, 7, 7, 7, 7, 7, 8)


def table(levels: Sequence[Level]) -> list[str]:
    """The levels in lines of at most 80 characters, two of them the head."""
    top = "  at  answers  tokens  tokens/s    first word        seconds an answer takes"
    return [top, _line(HEAD[1]), *(_line(row(level)) for level in levels)]


def row(level: Level) -> tuple[str, ...]:
    """A level's figures, in the order of the head."""
    first, whole = level.first_token, level.latency
    return (
        str(level.concurrency),
        figure(level.requests_per_s),
        figure(level.tokens_per_s),
        figure(level.stream_tokens_per_s),
        *(_of(first, name) for name in ("p50", "p95")),
        *(_of(whole, name) for name in ("p50", "p90", "p95", "p99")),
        share(level.error_rate) if level.errors else "–",
    )


def rows(report: BenchReport) -> list[tuple[str, str]]:
    """What the table does not say: how it was asked, how it failed, the gates, the notes."""
    asked = report.asked
    what = f"the suite {asked.suite}" if asked.suite else "plain questions"
    said = [
        ("model", report.model),
        (
            "asked",
            f"{what}, {asked.questions} in turn{', each with a mark of its own' if asked.marked else ''}; "
            f"{number(asked.duration)} s a level",
        ),
    ]
    if report.load_seconds is not None and report.load_seconds >= 0.1:
        said.append(("loading", f"{report.load_seconds:.1f} s, counted nowhere"))
    for level in report.levels:
        if level.waiting is not None and level.latency is not None and level.waiting.p95 > 0.1 * level.latency.p95:
            wait = f"p50 {figure(level.waiting.p50)} s, p95 {figure(level.waiting.p95)} s"
            said.append((f"queue at {level.concurrency}", f"{wait} of an answer's time the server did not work on it"))
    said += [
        (f"errors at {level.concurrency}", f"{one.count} {one.kind}: {one.example}")
        for level in report.levels
        for one in level.failures
    ]
    for gate in report.gates:
        seen = "nothing to observe" if gate.observed is None else number(gate.observed)
        said.append(("gate", f"{'✓' if gate.passed else '✗'} {gate.rule} (observed {seen})"))
    return said + [("note", note) for note in report.notes]


def figure(value: float | None) -> str:
    """Three digits that count, and no more than six characters."""
    if value is None:
        return "–"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.0995 else f"{value:.3f}"


def share(rate: float) -> str:
    """A share in percent; one that is not quite 0 or 100 never reads so."""
    shown = f"{100 * rate:.1f}"
    if shown == "0.0" and rate > 0:
        return "<0.1 %"
    if shown == "100.0":
        return "100 %" if rate == 1 else ">99.9 %"
    return f"{shown} %"


def _of(spread: Spread | None, name: str) -> str:
    return "–" if spread is None else figure(getattr(spread, name))


def _line(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
