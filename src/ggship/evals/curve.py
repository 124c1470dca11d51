"""The training curve as geometry: points and ticks for an inline SVG, with no drawing library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 24.0, 14.0, 34.0
MOST_POINTS = 400

Point = tuple[int, "float | None", "float | None"]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, in SVG units, with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawn curve. loss, eval_loss: points of a polyline ("x,y x,y"); dots: where the evaluation loss was taken."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    loss: str
    eval_loss: str
    dots: tuple[tuple[float, float], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    about: str


def draw(points: Sequence[Point]) -> Curve | None:
    """The curve of (step, loss, evaluation loss); None where there are fewer than two losses to connect."""
    losses = _thin([(step, loss) for step, loss, _ in points if loss is not None and math.isfinite(loss)])
    evals = _thin([(step, loss) for step, _, loss in points if loss is not None and math.isfinite(loss)])
    every = losses + evals
    if max(len(losses), len(evals)) < 2:
        return None
    x_low, x_high = min(step for step, _ in every), max(step for step, _ in every)
    y_ticks = ticks(min(0.0, *(loss for _, loss in every)), max(loss for _, loss in every))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(step: float, loss: float) -> tuple[float, float]:
        x = LEFT + (step - x_low) / ((x_high - x_low) or 1) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (loss - y_low) / ((y_high - y_low) or 1) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    return Curve(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        bottom=HEIGHT - BOTTOM,
        loss=" ".join("{},{}".format(*place(step, loss)) for step, loss in losses),
        eval_loss=" ".join("{},{}".format(*place(step, loss)) for step, loss in evals),
        dots=tuple(place(step, loss) for step, loss in evals) if len(evals) <= 40 else (),
        x_ticks=tuple(Tick(place(at, y_low)[0], f"{at:g}") for at in ticks(x_low, x_high) if x_low <= at <= x_high),
        y_ticks=tuple(Tick(place(x_low, loss)[1], f"{loss:g}") for loss in y_ticks),
        about=_about(losses, evals),
    )


def _about(losses: Sequence[tuple[int, float]], evals: Sequence[tuple[int, float]]) -> str:
    said = [
        f"{name} from {row[0][1]:.3g} to {row[-1][1]:.3g}"
        for name, row in (("training loss", losses), ("evaluation loss", evals))
        if row
    ]
    last = max(row[-1][0] for row in (losses, evals) if row)
    return f"{' and '.join(said)} over {last} steps"


def _thin(row: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS of them, the last one always."""
    stride = math.ceil(len(row) / MOST_POINTS) or 1
    return row[::stride] + ([row[-1]] if row and (len(row) - 1) % stride else [])


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers, the first at or below `low`, the last at or above `high`."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * wanted >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
