"""The statistics that keep a small suite honest: intervals, exact tests, percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


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


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which that share lies, linear between neighbours; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
