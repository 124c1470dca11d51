"""Which positions of an answer are looked at in full."""

from __future__ import annotations


def spread(length: int, most: int) -> list[int]:
    """At most so many positions of range(length), evenly over it, the first and the last among them, ascending.

    Law: all of them where length <= most.
    """
    if length <= most:
        return list(range(length))
    if most <= 1:
        return [0] * most
    return sorted({round(number * (length - 1) / (most - 1)) for number in range(most)})
