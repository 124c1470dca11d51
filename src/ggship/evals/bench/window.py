"""The part of a level in which is measured, and what is kept of each answer: a few numbers."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

from ggship.evals.bench.report import Failure, Level, Spread
from ggship.evals.stats import percentile
from ggship.runtimes.streaming import End

RELOADED = 0.25  # a model that is there is found in less; seconds
_EXAMPLE = 300


@dataclass(slots=True)
class Window:
    """From when to when is measured, by the clock; infinite until that is known."""

    opened: float = math.inf
    closed: float = math.inf

    def share(self, began: float, ended: float) -> float:
        """Which part of that time lies in the window, 0 to 1."""
        inside = min(ended, self.closed) - max(began, self.opened)
        if inside <= 0:
            return 0.0
        return inside / (ended - began)

    def holds(self, moment: float) -> bool:
        """Whether it was open then."""
        return self.opened <= moment < self.closed


@dataclass(slots=True)
class Sample:
    """One question and what became of it. first: when its first word came. pieces, inside: how many pieces with words
    came, and how many of them in the window. kind, example: how it failed, "" where it did not.
    """

    began: float
    ended: float = math.inf
    first: float | None = None
    pieces: int = 0
    inside: int = 0
    end: End | None = None
    kind: str = ""
    example: str = ""


@dataclass(slots=True)
class Tally:
    """The sums of a level. Not safe for threads: whoever adds holds the level's lock."""

    window: Window
    requests: float = 0.0
    tokens: float = 0.0
    latency: array[float] = field(default_factory=lambda: array("d"))
    first: array[float] = field(default_factory=lambda: array("d"))
    waiting: array[float] = field(default_factory=lambda: array("d"))
    rates: array[float] = field(default_factory=lambda: array("d"))
    failures: dict[str, tuple[int, str]] = field(default_factory=dict)
    loads: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_told: bool = False
    by_pieces: bool = False

    @property
    def finished(self) -> int:
        """Questions of the window that came to an end, well or not."""
        return len(self.latency) + sum(count for count, _ in self.failures.values())

    def add(self, sample: Sample) -> None:
        """Count a question that came to an end. Those that lie outside the window add nothing."""
        if sample.kind:
            if self.window.holds(sample.began):
                count, example = self.failures.get(sample.kind, (0, sample.example[:_EXAMPLE]))
                self.failures[sample.kind] = (count + 1, example)
            return
        end = sample.end or End()
        tokens = end.tokens if end.tokens is not None else sample.pieces
        share = self.window.share(sample.began, sample.ended)
        self.requests += share
        # Words come unevenly: first the prompt is read, or the request waits. Where they came in one piece, time tells.
        self.tokens += tokens * (sample.inside / sample.pieces if sample.pieces > 1 else share)
        if self.window.holds(sample.began):
            self._add_times(sample, end, tokens)

    def _add_times(self, sample: Sample, end: End, tokens: int) -> None:
        seconds = sample.ended - sample.began
        self.by_pieces |= end.tokens is None
        self.latency.append(seconds)
        if sample.first is not None:
            self.first.append(sample.first - sample.began)
            if tokens > 1 and sample.ended > sample.first:
                self.rates.append((tokens - 1) / (sample.ended - sample.first))
        if end.work_seconds is not None:
            self.waiting.append(max(0.0, seconds - end.work_seconds - (end.load_seconds or 0.0)))
        self.loads += end.load_seconds is not None and end.load_seconds > RELOADED
        if end.prompt_tokens and end.cached_tokens is not None:
            self.cache_told = True
            self.prompt_tokens += end.prompt_tokens
            self.cached_tokens += end.cached_tokens

    def level(self, concurrency: int, unfinished: int) -> Level:
        """What the level gave, now that the window is closed."""
        seconds = max(0.0, self.window.closed - self.window.opened) if math.isfinite(self.window.opened) else 0.0
        failed = sum(count for count, _ in self.failures.values())
        return Level(
            concurrency=concurrency,
            seconds=seconds,
            answers=len(self.latency),
            requests_per_s=self.requests / seconds if seconds else 0.0,
            tokens_per_s=self.tokens / seconds if seconds else 0.0,
            stream_tokens_per_s=percentile(self.rates, 0.5),
            latency=spread(self.latency),
            first_token=spread(self.first),
            waiting=spread(self.waiting),
            errors=failed,
            error_rate=failed / self.finished if self.finished else 0.0,
            failures=tuple(Failure(kind, *self.failures[kind]) for kind in sorted(self.failures)),
            loads=self.loads,
            cached_share=self.cached_tokens / self.prompt_tokens if self.cache_told else None,
            counted_by="pieces" if self.by_pieces else "server",
            unfinished=unfinished,
        )


def spread(values: array[float]) -> Spread | None:
    """The percentiles of these seconds; None of nothing."""
    if not values:
        return None
    ordered = array("d", sorted(values))
    p50, p90, p95, p99 = (percentile(ordered, share) or 0.0 for share in (0.5, 0.9, 0.95, 0.99))
    return Spread(math.fsum(ordered) / len(ordered), p50, p90, p95, p99, ordered[-1])
