"""What answers are judged with beside our own code: patterns and schemas under a time limit, a judge, an embedder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from ggship.errors import ToolFailed, UsageError
from ggship.evals.patterns import Patterns
from ggship.evals.schemas import Schemas
from ggship.runtimes.model import Message


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge found. score: 0..1."""

    passed: bool
    score: float
    reason: str


class Judge(Protocol):
    """A model that holds answers against a rubric."""

    def verdict(self, messages: Sequence[Message], answer: str, rubric: str) -> Verdict:
        """Raises ServerError or ToolFailed where it gives none."""
        ...


class Embedder(Protocol):
    """A model that turns texts into vectors."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """A vector for each text. Raises ServerError where it gives none."""
        ...


@dataclass(frozen=True, slots=True)
class Instruments:
    """All that judging takes. Use it with `with`, or close it: the first two may have a process of their own."""

    patterns: Patterns = field(default_factory=Patterns)
    schemas: Schemas = field(default_factory=Schemas)
    judge: Judge | None = None
    embedder: Embedder | None = None

    def verdict(self, messages: Sequence[Message], answer: str, rubric: str) -> Verdict:
        """The judge's."""
        if self.judge is None:
            raise UsageError("`llm-rubric` needs a judge", hint="--judge URL#MODEL")
        return self.judge.verdict(messages, answer, rubric)

    def likeness(self, left: str, right: str) -> float:
        """The cosine of the two texts' embeddings."""
        if self.embedder is None:
            raise UsageError("`similar` needs embeddings", hint="--embedder URL#MODEL")
        one, other = self.embedder.embed([left, right])
        lengths = math.hypot(*one) * math.hypot(*other)
        if len(one) != len(other) or not lengths or not math.isfinite(lengths):
            raise ToolFailed("the embeddings cannot be compared", where="a vector is empty, or not finite")
        return sum(x * y for x, y in zip(one, other, strict=True)) / lengths

    def close(self) -> None:
        """End what was started."""
        self.patterns.close()
        self.schemas.close()

    def __enter__(self) -> Instruments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
