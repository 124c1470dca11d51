"""Conversations of which the model under test says some turns itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ggship.evals.report import CaseReport
from ggship.evals.suite import Case
from ggship.runtimes.model import Answer, Message


def questions(case: Case, said: Sequence[Answer]) -> Iterator[tuple[Message, ...]]:
    """What the model is asked, one after the other: up to each turn that it says itself, then the whole.

    said: its answers so far; each is to be there when the next question is wanted.
    """
    turns: list[Message] = []
    count = 0
    for turn in case.messages:
        if "by" in turn:
            yield tuple(turns)
            answer = said[count]
            turns.append(Message(role="assistant", content=answer.text))
            count += 1
            if answer.tool_calls:
                turns[-1]["tool_calls"] = answer.tool_calls
        else:
            turns.append(turn)
    yield tuple(turns)


def conversation(case: CaseReport) -> Iterator[tuple[str, str]]:
    """(Role, words) of each turn, for people; of those that the model said itself, the tuned model's."""
    said = iter(case.tuned.turns)
    for turn in case.messages:
        if "by" in turn:
            yield f"{turn['role']} (the tuned model)", next(said, "")
        else:
            yield turn["role"], turn["content"]
