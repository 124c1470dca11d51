"""What a load found: values, with their units. templates/schemas/bench.schema.json is made from these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ggship.evals.report import Gate

Stopped = Literal["", "interrupted", "time limit", "server gone"]


@dataclass(frozen=True, slots=True)
class Spread:
    """How seconds are spread over the answers of a level. Percentiles are linear between neighbours."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    slowest: float


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to fail. kind: busy (503), limited (429), timeout, unreachable, broken off, error inside, empty, or
    "http NNN"; example: the first that failed so, in the server's words.
    """

    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Level:
    """So many streams at once, each asking its next question when its last one is answered.

    seconds: how long the window was open. requests_per_s, tokens_per_s: of all streams together, answers that lie
    partly in the window counted by their part. answers: whole answers to questions asked in the window; latency (from
    question to last token), first_token (to the first word), waiting (what the server did not work on it; Ollama says)
    and stream_tokens_per_s (median, of one stream once words come) are theirs. errors, error_rate: questions of the
    window without an answer. loads: answers for which the model was loaded anew. cached_share: of the prompts' tokens,
    from the server's memory. counted_by: who counted tokens; "pieces" where the server does not, each piece one.
    unfinished: asked and still open when the measurement was stopped.
    """

    concurrency: int
    seconds: float
    answers: int
    requests_per_s: float
    tokens_per_s: float
    stream_tokens_per_s: float | None
    latency: Spread | None
    first_token: Spread | None
    waiting: Spread | None
    errors: int
    error_rate: float
    failures: tuple[Failure, ...]
    loads: int
    cached_share: float | None
    counted_by: Literal["server", "pieces"]
    unfinished: int


@dataclass(frozen=True, slots=True)
class Asked:
    """How it was asked. Times in seconds. concurrency: every level that was planned, measured or not."""

    suite: str
    suite_digest: str
    questions: int
    marked: bool
    tokens: int | None
    concurrency: tuple[int, ...]
    duration: float
    max_requests: int
    timeout: float
    limit: float


@dataclass(frozen=True, slots=True)
class BenchReport:
    """A whole load. stopped: why it ended before its plan did, "" where it did not. load_seconds: until the model was
    there, in the first question, which counts in no level.
    """

    model: str
    digest: str | None
    ggship_version: str
    started: str
    seconds: float
    load_seconds: float | None
    asked: Asked
    levels: tuple[Level, ...]
    stopped: Stopped
    gates: tuple[Gate, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(gate.passed for gate in self.gates)

    def level(self, concurrency: int) -> Level | None:
        """The level of so many streams, where it was measured."""
        return next((level for level in self.levels if level.concurrency == concurrency), None)
