"""One level of a load: so many threads, each asking its next question when its last one is answered."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ggship.clock import Clock
from ggship.errors import ServerError
from ggship.evals.bench.plan import BenchPlan
from ggship.evals.bench.questions import Questions
from ggship.evals.bench.report import Level, Stopped
from ggship.evals.bench.window import Sample, Tally, Window
from ggship.runtimes.streaming import BROKEN, EMPTY, TIMEOUT, UNREACHABLE, AnswerStream, kind_of

LOST_IN_A_ROW = 3  # answers that one stream lost to the connection before it holds the server for gone
TICK = 0.1

OnTick = Callable[[float], None]
"""Called as (seconds that the window is open), several times a second."""


@dataclass(frozen=True, slots=True)
class LevelDone:
    """A level, None where it ended before its window opened; and why it ended before its time, "" where it did not."""

    level: Level | None
    stopped: Stopped
    asked: int


class LevelRun:
    """Runs one level, once. The window opens when every stream has had its first answer: those warm, and do not count.

    What is under way when the window closes is waited for: leaving it out would leave out the slow ones. first: the
    number of the first question. seed: of the marks.
    """

    def __init__(
        self,
        open_stream: Callable[[], AnswerStream],
        questions: Questions,
        plan: BenchPlan,
        concurrency: int,
        *,
        clock: Clock,
        first: int = 0,
        seed: str = "",
    ) -> None:
        self._open_stream = open_stream
        self._questions = questions
        self._plan = plan
        self._concurrency = concurrency
        self._clock = clock
        self._seed = seed
        self._window = Window()
        self._tally = Tally(self._window)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._first = first
        self._number = first
        self._warm = 0
        self._running = concurrency
        self._gone = 0
        self._open: set[int] = set()
        self._bug: BaseException | None = None

    def run(self, deadline: float, on_tick: OnTick | None = None) -> LevelDone:
        """Start the streams, and wait until all have ended, the deadline is there, or Ctrl-C was typed."""
        for _ in range(self._concurrency):
            threading.Thread(target=self._work, daemon=True).start()
        stopped: Stopped = ""
        try:
            while not self._ended.wait(TICK):
                now = self._clock.monotonic()
                if on_tick and math.isfinite(self._window.opened):
                    on_tick(min(now, self._window.closed) - self._window.opened)
                if now >= deadline:
                    stopped = "time limit"
                    break
        except KeyboardInterrupt:
            stopped = "interrupted"
        return self._finish(stopped)

    def _finish(self, stopped: Stopped) -> LevelDone:
        self._stop.set()
        with self._lock:
            if self._bug is not None:
                raise self._bug
            if stopped:
                self._window.closed = min(self._window.closed, self._clock.monotonic())
            elif self._gone == self._concurrency:
                stopped = "server gone"
            opened = math.isfinite(self._window.opened)
            level = self._tally.level(self._concurrency, len(self._open)) if opened else None
            return LevelDone(level, stopped, self._number - self._first)

    def _work(self) -> None:
        stream: AnswerStream | None = None
        lost = asked = 0
        try:
            stream = self._open_stream()
            while (number := self._next()) is not None:
                sample = self._ask(stream, number)
                asked += 1
                self._count(sample, number, first=asked == 1)
                lost = lost + 1 if sample.kind in (UNREACHABLE, BROKEN) else 0
                if lost >= LOST_IN_A_ROW:
                    with self._lock:
                        self._gone += 1
                    return
                if sample.kind:
                    self._stop.wait(self._plan.pause)
        except BaseException as error:
            self._bug = error
            self._ended.set()
        finally:
            if stream is not None:
                stream.close()
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._ended.set()

    def _next(self) -> int | None:
        with self._lock:
            if self._stop.is_set() or self._clock.monotonic() >= self._window.closed:
                return None
            number = self._number
            self._number += 1
            if math.isfinite(self._window.opened):
                self._open.add(number)
            return number

    def _count(self, sample: Sample, number: int, *, first: bool) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._open.discard(number)
            self._tally.add(sample)
            if self._tally.finished >= self._plan.max_requests:
                self._window.closed = min(self._window.closed, sample.ended)
            self._warm += first
            if first and self._warm == self._concurrency:
                self._window.opened = self._clock.monotonic()
                self._window.closed = self._window.opened + self._plan.duration

    def _ask(self, stream: AnswerStream, number: int) -> Sample:
        messages, options = self._questions.question(
            number, seed=self._seed, marked=self._plan.marked, tokens=self._plan.tokens
        )
        sample = Sample(began=self._clock.monotonic())
        try:
            for piece in stream.ask(messages, options):
                now = self._clock.monotonic()
                if piece.words:
                    sample.pieces += 1
                    sample.inside += self._window.holds(now)
                    if sample.first is None:
                        sample.first = now if piece.after is None else sample.began + piece.after
                sample.end = piece.end or sample.end
                if piece.end is None and now - sample.began > self._plan.timeout:
                    sample.kind, sample.example = TIMEOUT, f"the answer went on for {self._plan.timeout:g} s"
                    break
                if self._stop.is_set():
                    break
            if not sample.kind and not sample.pieces:
                sample.kind, sample.example = EMPTY, "an answer without a word"
        except ServerError as error:
            sample.kind, sample.example = kind_of(error), str(error)
        sample.ended = self._clock.monotonic()
        return sample
