"""The chart of a load as one inline SVG, with no drawing library: tokens a second, and how long an answer takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ggship.evals.bench.codec import from_document
from ggship.evals.bench.report import BenchReport, Level
from ggship.evals.bench.words import figure

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 720.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 16.0, 34.0, 44.0
HALF = WIDTH / 2
LINE = 14.0  # between two labels

Line = tuple[str, Callable[[Level], "float | None"]]
RATES: tuple[Line, ...] = (("tokens/s", lambda level: level.tokens_per_s),)
TIMES: tuple[Line, ...] = (
    ("p50", lambda level: level.latency.p50 if level.latency else None),
    ("p95", lambda level: level.latency.p95 if level.latency else None),
    ("first", lambda level: level.first_token.p95 if level.first_token else None),
)


def chart(document: Mapping[str, Any] | BenchReport) -> Markup:
    """Both panels in one SVG, "" where nothing was measured. document: a report, or bench.json as plain values.

    It has classes and no style of its own: templates/report/bench.css goes with report.css. Its words are in `about`.
    """
    from markupsafe import Markup

    report = document if isinstance(document, BenchReport) else from_document(document)
    levels = sorted((level for level in report.levels if level.answers), key=lambda level: level.concurrency)
    if not levels:
        return Markup()
    panels = [
        _panel(0.0, "Tokens a second, all streams", levels, RATES),
        _panel(HALF, "Seconds an answer takes", levels, TIMES),
    ]
    return Markup(  # every text in it is ours or escaped below
        f'<svg class="curve load" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(about(report))}">'
        f"{''.join(panels)}</svg>"
    )


def about(report: BenchReport) -> str:
    """The chart in words, for those who hear it."""
    parts = []
    for level in sorted(report.levels, key=lambda level: level.concurrency):
        whole = level.latency
        times = f", half answered within {figure(whole.p50)} s, 95 % within {figure(whole.p95)} s" if whole else ""
        parts.append(f"{level.concurrency} at once: {figure(level.tokens_per_s)} tokens a second{times}")
    return "; ".join(parts)


def _panel(left: float, title: str, levels: Sequence[Level], lines: Sequence[Line]) -> str:
    """One diagram over the number of streams, whose axis is logarithmic: 1, 2, 4, 8 lie evenly."""
    values = [value for _, of in lines for level in levels if (value := of(level)) is not None]
    ticks = _ticks(max(values, default=0.0))
    low, high = math.log(levels[0].concurrency), math.log(levels[-1].concurrency)

    def x(streams: int) -> float:
        share = (math.log(streams) - low) / (high - low) if high > low else 0.5
        return round(left + LEFT + share * (HALF - LEFT - RIGHT - 34.0), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / ticks[-1] * (HEIGHT - TOP - BOTTOM), 1)

    right = left + HALF - RIGHT - 34.0
    drawn = [f'<text class="title" x="{left + LEFT:g}" y="16">{title}</text>']
    for tick in ticks:
        drawn.append(f'<line class="grid" x1="{left + LEFT:g}" x2="{right:g}" y1="{y(tick):g}" y2="{y(tick):g}"/>')
        drawn.append(f'<text x="{left + LEFT - 8:g}" y="{y(tick) + 4:g}" text-anchor="end">{tick:g}</text>')
    for level in levels:
        place = f'x="{x(level.concurrency):g}" y="{HEIGHT - BOTTOM + 18:g}"'
        drawn.append(f'<text {place} text-anchor="middle">{level.concurrency}</text>')
    middle = left + LEFT + (HALF - LEFT - RIGHT - 34.0) / 2
    drawn.append(f'<text x="{middle:g}" y="{HEIGHT - 8:g}" text-anchor="middle">at once</text>')
    rows = [
        [(x(level.concurrency), y(value)) for level in levels if (value := of(level)) is not None] for _, of in lines
    ]
    labels = _apart([points[-1][1] for points in rows if points])
    for number, ((name, _), points) in enumerate(zip(lines, rows, strict=True)):
        if points:
            drawn.append(_line(f"line{number}", name, points, labels.pop(0)))
    return "".join(drawn)


def _line(kind: str, name: str, points: Sequence[tuple[float, float]], label: float) -> str:
    joined = " ".join(f"{at:g},{up:g}" for at, up in points)
    dots = "".join(f'<circle class="{kind}" cx="{at:g}" cy="{up:g}" r="3"/>' for at, up in points)
    text = f'<text class="{kind}" x="{points[-1][0] + 7:g}" y="{label + 4:g}">{name}</text>'
    return f'<polyline class="{kind}" points="{joined}"/>{dots}{text}'


def _apart(heights: Sequence[float]) -> list[float]:
    """The heights, moved down where two lines of text would lie on each other; in the order they came."""
    placed: dict[int, float] = {}
    lowest = -math.inf
    for number in sorted(range(len(heights)), key=lambda number: heights[number]):
        lowest = max(heights[number], lowest + LINE)
        placed[number] = lowest
    return [placed[number] for number in range(len(heights))]


def _ticks(high: float, wanted: int = 4) -> list[float]:
    """Round numbers from 0, the last at or above `high`."""
    span = high or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * wanted >= span)
    return [round(step * number, 10) for number in range(max(math.ceil(high / step - 1e-9), 1) + 1)]
