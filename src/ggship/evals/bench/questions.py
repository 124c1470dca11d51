"""The questions of a load: those of a suite in turn, each begun with a mark of its own.

A server keeps the prompts that it has read. Asked the same few questions again and again it would skip the reading and
look faster than it is among people, who ask different things. The mark stands at the very beginning of the first turn
of the user, since what is remembered is the longest beginning that two prompts share. The system prompt before it
stays remembered, as it does among people. Answers to marked questions are not judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ggship.errors import UsageError
from ggship.evals.suite import Suite
from ggship.runtimes.model import ChatOptions, Message

PLAIN_TOKENS = 128
PLAIN = (
    "What is a contract, and what does it take for one to be valid?",
    "Explain in a few sentences how rain forms.",
    "Write a short, polite mail that asks for a meeting next week.",
    "List five things one should check before renting a flat.",
    "请用几句话解释什么是合同。",
    "What is the difference between a virus and a bacterium?",
    "Summarise in two sentences: The council met on Tuesday to discuss the new bridge. After a long debate about its "
    "cost, the members agreed to ask for a second estimate and to decide in spring.",
    "我想租房子，签合同之前应该注意什么？",
)


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked, in turn. name, digest: of the suite it comes from, "" for the plain questions."""

    asked: tuple[tuple[tuple[Message, ...], ChatOptions], ...]
    name: str = ""
    digest: str = ""

    def question(
        self, number: int, *, seed: str = "", marked: bool = True, tokens: int | None = None
    ) -> tuple[Sequence[Message], ChatOptions]:
        """The question of that number: the same number and seed, the same question."""
        messages, options = self.asked[number % len(self.asked)]
        if tokens is not None:
            options = replace(options, num_predict=tokens)
        return (_marked(messages, f"{seed} {number}") if marked else messages), options


def questions_of(suite: Suite | None) -> Questions:
    """The cases of a suite, as it asks them; plain questions without one. UsageError where it has no cases."""
    if suite is None:
        options = ChatOptions(num_predict=PLAIN_TOKENS)
        return Questions(tuple(((Message(role="user", content=text),), options) for text in PLAIN))
    if not suite.cases:
        raise UsageError("the suite has no tests to ask", where=suite.name)
    return Questions(tuple((case.messages, case.options) for case in suite.cases), suite.name, suite.digest)


def _marked(messages: Sequence[Message], what: str) -> list[Message]:
    mark = hashlib.sha256(what.encode()).hexdigest()[:8]
    turns = list(messages)
    place = next((i for i, turn in enumerate(turns) if turn["role"] == "user"), len(turns) - 1)
    first = turns[place].copy()
    first["content"] = f"[{mark}] {first['content']}"
    turns[place] = first
    return turns
