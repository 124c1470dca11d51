"""What is to be measured, and the bounds of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ggship.errors import UsageError

MOST_STREAMS = 512
MOST_LEVELS = 20
MOST_ANSWERS = 100_000  # a level: what is kept of an answer is a few numbers, so that this is some megabytes
LONGEST = 24 * 3600.0

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)?\s*")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """How many ask at once, level after level, and for how long. Times in seconds.

    duration: of a level's window, in which is measured. max_requests: the window closes after so many answers, if that
    is sooner. timeout: how long one answer may take. limit: of all levels together. tokens: the longest answer, in
    place of what each question says. marked: every question begins with a mark of its own (see questions.py). pause:
    what a stream waits after an answer that failed; one that asks a full queue again at once measures itself.
    """

    concurrency: tuple[int, ...] = (1, 2, 4, 8)
    duration: float = 30.0
    max_requests: int = MOST_ANSWERS
    timeout: float = 120.0
    limit: float = 1800.0
    tokens: int | None = None
    marked: bool = True
    pause: float = 0.5


def parse_duration(text: str, what: str) -> float:
    """Seconds of "30s", "1.5m", "200ms", "45". UsageError, which names `what`, for anything else, and for nothing."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else math.nan
    if not 0 < seconds <= LONGEST:
        raise UsageError(
            f"not a duration for {what}: {text}", hint="write it as 30s, 5m or 1h; more than nothing, at most 24h"
        )
    return seconds


def parse_concurrency(text: str) -> tuple[int, ...]:
    """The levels of "1,2,4,8", in the order they are written. UsageError for anything else."""
    hint = f"write it as 1,2,4,8: at most {MOST_LEVELS} numbers from 1 to {MOST_STREAMS}, none of them twice"
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise UsageError(f"not a list of how many ask at once: {text}", hint=hint)
    levels = tuple(int(word) for word in words)
    if not all(1 <= level <= MOST_STREAMS for level in levels):
        raise UsageError(f"so many cannot be asked for at once: {text}", hint=hint)
    if len(levels) > MOST_LEVELS or len(set(levels)) < len(levels):
        raise UsageError(f"too many levels, or one of them twice: {text}", hint=hint)
    return levels
