"""Small drawings as geometry for inline SVG: how long answers took, and where a gate's value lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ggship.errors import UsageError
from ggship.evals import gates
from ggship.evals.curve import Tick, ticks
from ggship.evals.report import Gate
from ggship.evals.stats import percentile

WIDTH = 720.0
LEFT, RIGHT, TOP, ROW, FOOT = 12.0, 24.0, 26.0, 76.0, 30.0
MOST_DOTS = 400
FAR = 4.0  # how many times the 95th percentile an answer takes before it would press all others together
_GOLDEN = 0.618034  # spreads points evenly without chance, so that equal reports are equal bytes

RATES = ("pass_rate", "base_pass_rate", "score", "changed_rate", "metric.", "tag.", "human.")
DIFFERENCES = ("delta_pass_rate",)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A gate on the scale of what it is about, all in per cent of it: the bound, what was observed, its interval.

    zero: where a difference changes its sign; None on a scale that begins with it.
    """

    bound: float
    at: float
    low: float
    high: float
    zero: float | None = None


@dataclass(frozen=True, slots=True)
class Strip:
    """The answers of one model: a dot each at (x, y, what it is); x of its median and of its 95th percentile."""

    side: str
    name: str
    top: float
    bottom: float
    dots: tuple[tuple[float, float, str], ...]
    half: float
    most: float
    told: str


@dataclass(frozen=True, slots=True)
class Latency:
    """A strip for each model over one axis of seconds. about: the same in words, for who cannot see it."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    strips: tuple[Strip, ...]
    ticks: tuple[Tick, ...]
    about: str
    beyond: str


def gauge(gate: Gate) -> Gauge | None:
    """Where the gate's value lies between 0 and 1, or -1 and 1 for a difference; None where it is neither."""
    try:
        rule = gates.parse_gate(gate.rule)
    except UsageError:  # of a report that a newer ggship wrote
        return None
    differs = rule.metric.startswith(DIFFERENCES)
    if gate.observed is None or not (differs or rule.metric.startswith(RATES)):
        return None
    least = -1.0 if differs else 0.0
    values = (rule.bound, gate.observed, *(gate.interval or (gate.observed, gate.observed)))
    if not all(least <= value <= 1 for value in values):
        return None
    bound, at, low, high = (round(100 * (value - least) / (1 - least), 2) for value in values)
    return Gauge(bound, at, low, high, 50.0 if differs else None)


def latency(sides: Sequence[tuple[str, str, Mapping[str, float]]]) -> Latency | None:
    """The chart of (side, name, seconds by case); None where nobody answered.

    Where a few answers took so long that all others would lie on one spot, those stand at the edge.
    """
    given = [(side, name, sorted(took.items(), key=lambda pair: pair[1])) for side, name, took in sides if took]
    if not given:
        return None
    longest = max(took[-1][1] for _, _, took in given)
    usual = max(percentile([seconds for _, seconds in took], 0.95) or 0.0 for _, _, took in given)
    axis = ticks(0.0, longest if longest <= FAR * usual else 1.5 * usual, wanted=6)
    edge = axis[-1]

    def place(seconds: float) -> float:
        return round(LEFT + min(seconds, edge) / edge * (WIDTH - LEFT - RIGHT), 1)

    strips = tuple(_strip(side, name, took, TOP + ROW * n, place) for n, (side, name, took) in enumerate(given))
    late = [seconds for _, _, took in given for _, seconds in took if seconds > edge]
    return Latency(
        width=WIDTH,
        height=TOP + ROW * len(given) + FOOT,
        left=LEFT,
        right=WIDTH - RIGHT,
        bottom=TOP + ROW * len(given),
        strips=strips,
        ticks=tuple(Tick(place(value), f"{value:g} s" if value else "0") for value in axis),
        about="; ".join(f"{strip.name}: {strip.told}" for strip in strips),
        beyond=f"{len(late)} took longer than {edge:g} s, up to {max(late):.3g} s, and stand there." if late else "",
    )


def _strip(
    side: str, name: str, took: Sequence[tuple[str, float]], top: float, place: Callable[[float], float]
) -> Strip:
    stride = math.ceil(len(took) / MOST_DOTS)
    kept = [*took[::stride], *([took[-1]] if (len(took) - 1) % stride else [])]
    seconds = [one for _, one in took]
    dots = tuple(
        (place(one), round(top + 8 + (number * _GOLDEN) % 1 * (ROW - 40), 1), f"{case}: {one:.3g} s")
        for number, (case, one) in enumerate(kept)
    )
    return Strip(
        side=side,
        name=name,
        top=top + 4,
        bottom=top + ROW - 26,
        dots=dots,
        half=place(percentile(seconds, 0.5) or 0.0),
        most=place(percentile(seconds, 0.95) or 0.0),
        told=_told(seconds),
    )


def _told(seconds: Sequence[float]) -> str:
    half, most = percentile(seconds, 0.5), percentile(seconds, 0.95)
    return f"half of the answers within {half:.3g} s, 95 % within {most:.3g} s, the slowest {seconds[-1]:.3g} s"
