"""ShareGPT: `{"conversations": [{"from", "value"}], "system", "tools"}`, and ms-swift's `conversation` of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from ggship.evals.datasets.model import Example, Format, Record, RowError, Values, list_of, row_by_row, text_of
from ggship.evals.datasets.turns import answer, call, example, function_of, say, tools_of
from ggship.runtimes.model import Message


@dataclass(frozen=True, slots=True)
class Tags:
    """Where a conversation stands, and what its turns are called: the defaults of LLaMA-Factory and its kin."""

    messages: str = "conversations"
    system: str = "system"
    tools: str = "tools"
    role: str = "from"
    content: str = "value"
    user: tuple[str, ...] = ("human", "user")
    assistant: tuple[str, ...] = ("gpt", "assistant", "chatgpt", "bing", "bard", "model")
    observation: tuple[str, ...] = ("observation", "tool", "function_response")
    function: tuple[str, ...] = ("function_call",)
    systems: tuple[str, ...] = ("system",)


def sharegpt_example(record: Record, tags: Tags) -> Example:
    """The example of a conversation. User and assistant take turns, as LLaMA-Factory demands it."""
    values = record.values
    turns: list[Message] = []
    if tags.system and (system := text_of(values, tags.system)):
        turns.append(say("system", system))
    for turn in list_of(values, tags.messages):
        if not isinstance(turn, dict):
            raise RowError("a turn is no object")
        turns.append(_turn(turn, turns, tags))
    spoken = [turn["role"] in ("user", "tool") for turn in turns if turn["role"] != "system"]
    if any(asks is not (number % 2 == 0) for number, asks in enumerate(spoken)):
        raise RowError("question and answer do not take turns")
    return example(record.line, turns, tools_of(values.get(tags.tools)) if tags.tools else ())


def _turn(turn: dict[str, object], before: list[Message], tags: Tags) -> Message:
    role, content = turn.get(tags.role), text_of(turn, tags.content)
    if role in tags.user:
        return say("user", content)
    if role in tags.assistant:
        return say("assistant", content)
    if role in tags.function:
        return call([function_of(content)], first=len(before) + 1)
    if role in tags.observation:
        return answer(content, before)
    if role in tags.systems:
        return say("system", content)
    raise RowError(f"unknown speaker {role!r}: known are {', '.join((*tags.user, *tags.assistant))}")


def _make(record: Record) -> Example:
    return _pairs(record) if "conversation" in record.values else sharegpt_example(record, Tags())


def _pairs(record: Record) -> Example:
    turns: list[Message] = []
    if system := text_of(record.values, "system"):
        turns.append(say("system", system))
    for pair in list_of(record.values, "conversation"):
        if not isinstance(pair, dict):
            raise RowError("a pair of question and answer is no object")
        turns += [say("user", text_of(pair, "human")), say("assistant", text_of(pair, "assistant"))]
    return example(record.line, turns)


def _fits(values: Values) -> bool:
    pairs, turns = values.get("conversation"), values.get("conversations")
    if isinstance(pairs, list) and pairs and isinstance(pairs[0], dict) and "human" in pairs[0]:
        return True
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "from" in turns[0]


SHAREGPT = Format("sharegpt", "conversations of from and value", _fits, row_by_row(_make))
