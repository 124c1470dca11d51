"""The statistics that keep a small suite honest: intervals, exact tests, percentiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
Z80 = 0.8416212335729143  # 80 % quantile: the power that sample sizes are usually planned for
_HALVINGS = 60  # of an interval of length 2: exact to the last bit that matters


def wilson(rate: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a rate seen in n trials (n may be an effective number). (0, 1) where n is 0.

    Source: Wilson 1927. Law: 0 <= low <= rate <= high <= 1.
    """
    if n <= 0:
        return 0.0, 1.0
    centre = rate + z * z / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return min(max((centre - spread) / scale, 0.0), rate), max(min((centre + spread) / scale, 1.0), rate)


def effective_number(weights: Sequence[float]) -> float:
    """How many equally weighted trials carry as much as these: (sum w)^2 / sum w^2 (Kish); 0 where none weighs."""
    squares = sum(weight * weight for weight in weights)
    return sum(weights) ** 2 / squares if squares else 0.0


def mcnemar(only_left: int, only_right: int) -> float:
    """McNemar's exact p, two-sided: how surprising this split of the discordant pairs is if both models are alike.

    Law: symmetric, p <= 1; 1 where nothing is discordant.
    """
    n = only_left + only_right
    tail, ways = 0, 1
    for k in range(min(only_left, only_right) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, float(2 * tail / (1 << n)))


def paired_interval(only_left: float, only_right: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Tango's score interval of the difference of two rates seen on the same n cases. (-1, 1) where n is 0.

    only_left, only_right: cases that only the one or only the other passed, effective numbers allowed. It holds every
    difference that the score test does not reject, so that it agrees with McNemar's test (its asymptotic form), and
    keeps its level where n is small or nothing is discordant.
    Source: Tango 1998, Statistics in Medicine 17:891. Laws: -1 <= low <= (only_left - only_right) / n <= high <= 1;
    turned round, it is mirrored.
    """
    if n <= 0:
        return -1.0, 1.0
    seen = (only_left - only_right) / n

    def distance(delta: float) -> float:
        """How many standard errors lie between what was seen and a true difference of `delta`."""
        linear = (2 * n - only_left + only_right) * delta - only_left - only_right
        root = math.sqrt(max(linear * linear + 8 * n * only_right * delta * (1 - delta), 0.0))
        share = (root - linear) / (4 * n)  # of the cases that only the right one passes, were `delta` true
        variance = n * (2 * share + delta * (1 - delta))
        gap = n * (seen - delta)
        return math.copysign(math.inf, gap) if variance <= 0 else gap / math.sqrt(variance)

    return min(_crossing(distance, z, -1.0, seen), seen), max(_crossing(distance, -z, seen, 1.0), seen)


def _crossing(falling: Callable[[float], float], level: float, low: float, high: float) -> float:
    """Where a function that falls crosses the level, between low and high; the nearer end where it does not."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > level else (low, middle)
    return (low + high) / 2


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p of several tests: below 0.05, each, at most one time in twenty where all models are alike.

    Source: Holm 1979. Laws: each is at least its own p and at most 1; order is kept; one alone stays as it is.
    """
    adjusted = [0.0] * len(values)
    floor = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        floor = max(floor, min(1.0, values[place] * (len(values) - rank)))
        adjusted[place] = floor
    return tuple(adjusted)


def cases_needed(only_left: float, only_right: float, n: float) -> int | None:
    """About how many cases show a difference like this one, with 80 % power at the level of 5 %; None of none.

    Source: Connor 1987, Biometrics 43:207 (sample size of McNemar's test).
    """
    if n <= 0 or only_left == only_right:
        return None
    discordant, delta = (only_left + only_right) / n, abs(only_left - only_right) / n
    spread = Z95 * math.sqrt(discordant) + Z80 * math.sqrt(max(discordant - delta * delta, 0.0))
    return math.ceil((spread / delta) ** 2 - 1e-9)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which that share lies, linear between neighbours; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
