"""A model that answers by a script, a clock that ticks by itself, suites from text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from textwrap import dedent
from typing import Any

import pytest

from ggship.evals import Report, Suite, evaluate, parse_suite
from ggship.runtimes.model import Answer, ChatOptions, Message


@dataclass
class Ticking:
    """Every look at it is a tenth of a second later."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        self.seconds += 0.1
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=timezone.utc) + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Scripted:
    """Answers each question as the script says; what it does not know, with `otherwise`."""

    script: Mapping[str, Any] = field(default_factory=dict)
    label: str = "tuned"
    otherwise: Any = "I do not know."
    seconds: float = 0.5
    asked: list[str] = field(default_factory=list)
    systems: list[str] = field(default_factory=list)
    options: list[ChatOptions] = field(default_factory=list)

    @property
    def model(self) -> str:
        return self.label

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        question = messages[-1]["content"]
        self.asked.append(question)
        self.options.append(options)
        self.systems += [turn["content"] for turn in messages if turn["role"] == "system"]
        said = self.script.get(question, self.otherwise)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Answer) else Answer(said, "stop", self.seconds, tokens=max(1, len(said) // 4))

    def render(self, messages: Sequence[Message]) -> str | None:
        return None

    def digest(self) -> str | None:
        return "sha256:" + "0" * 64


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture
def ticking() -> type[Ticking]:
    return Ticking


@pytest.fixture
def suite() -> Callable[[str], Suite]:
    return lambda text: parse_suite(dedent(text), "suite.yaml")


@pytest.fixture
def run() -> Callable[..., Report]:
    def run(suite: Suite, tuned: Any, base: Any = None, **more: Any) -> Report:
        return evaluate(suite, tuned, base, clock=Ticking(), **more)

    return run


@pytest.fixture
def capitals(suite: Callable[[str], Suite]) -> Suite:
    """Four questions, each with the one right answer."""
    return suite(
        """
        version: 1
        name: capitals
        tests:
          - {id: france, prompt: France?, assert: [{type: contains, value: Paris}], tags: [europe]}
          - {id: japan, prompt: Japan?, assert: [{type: contains, value: Tokyo}]}
          - {id: egypt, prompt: Egypt?, assert: [{type: contains, value: Cairo}]}
          - {id: peru, prompt: Peru?, assert: [{type: contains, value: Lima}]}
        """
    )


HOSTILE = (
    "</div></details></style></script><script>alert(1)</script><img src=x onerror=alert(2)>"
    "<svg onload=alert(3)> <a href='javascript:alert(4)'>x</a> {{ 7 * 7 }} {% raw %} ${7*7} ]]> &lt;b&gt;"
    "\x1b[31mred\x1b[0m \x00\x07\x9b \u202egnp.exe\u202c \u2066a\u2069 \ufeff\u200b \U000e0041 \ud800 \" ' ` \u2028"
)


@pytest.fixture
def hostile(run: Any, scripted: Any, suite: Any) -> Report:
    """A report whose every text is an attack."""
    made = parse_suite(
        "version: 1\ntests: [{prompt: Paris?, assert: [{type: contains, value: Paris}]}, {prompt: Rome?}]", "s"
    )
    attack = HOSTILE.replace("\ud800", "\ufffd")
    cases = tuple(
        replace(case, id=f"{number}{attack}", messages=(Message(role="user", content=attack),), tags=(attack,))
        for number, case in enumerate(made.cases)
    )
    alike = "words that both say, so that the rest is marked as what only one says. " * 8
    tuned = scripted(otherwise=alike + HOSTILE, label=f"tuned{attack}")
    base = scripted(otherwise=alike + HOSTILE.replace("<script>alert(1)</script>", ""), label=f"base{attack}")
    report: Report = run(replace(made, name=attack, cases=cases), tuned, base)
    return report
