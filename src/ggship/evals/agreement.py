"""How much people agree beyond chance, and how many cases they must have read before a figure says something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

ENOUGH_READ = 10


def enough(of: int) -> int:
    """How many of so many cases must have been read before a rate over them says something: 10, or all of fewer."""
    return max(1, min(of, ENOUGH_READ))


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two raters: (seen - chance) / (1 - chance). pairs: what each said of the same thing.

    Source: Cohen 1960. None of no pairs. Law: symmetric, -1 <= kappa <= 1, and 1 where they agree everywhere, also
    where both always say the same and the formula is 0/0.
    """
    n = len(pairs)
    same = sum(left == right for left, right in pairs)
    if not n or same == n:
        return 1.0 if n else None
    lefts, rights = Counter(left for left, _ in pairs), Counter(right for _, right in pairs)
    chance = sum(lefts[label] * rights[label] for label in lefts)
    return (n * same - chance) / (n * n - chance)
