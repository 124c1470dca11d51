"""Reports to be opened: made by the real runner, of models that answer by a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ggship.evals import Report, evaluate, parse_suite
from ggship.runtimes.model import Answer, ChatOptions, Message


@dataclass
class Says:
    """A model that answers each question as its script says, half a second each."""

    script: Mapping[str, str] = field(default_factory=dict)
    label: str = "law-helper"
    otherwise: str = "I do not know."

    @property
    def model(self) -> str:
        return self.label

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        said = self.script.get(messages[-1]["content"], self.otherwise)
        return Answer(said, "stop", 0.5, tokens=max(1, len(said) // 4))

    def render(self, messages: Sequence[Message]) -> str | None:
        return None

    def digest(self) -> str | None:
        return "sha256:" + "0" * 64


class Still:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=timezone.utc)

    def sleep(self, seconds: float) -> None:
        pass


def asked(suite: str, tuned: Mapping[str, str], base: Mapping[str, str] | None = None, **names: str) -> Report:
    """The report of a suite (YAML) asked of both."""
    rival = None if base is None else Says(base, "smollm2:135m")
    return evaluate(parse_suite(suite, "suite"), Says(tuned, **names), rival, clock=Still())
