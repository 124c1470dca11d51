"""OpenAI's fine-tuning files: `{"messages": [{"role", "content", "tool_calls"}], "tools": [...]}` a line."""

from __future__ import annotations

from typing import Any

from ggship.evals.datasets.model import Example, Format, Record, RowError, Values, list_of, row_by_row, text_of
from ggship.evals.datasets.turns import answer, call, example, function_of, say, tools_of
from ggship.runtimes.model import Message

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def _fits(values: Values) -> bool:
    turns = values.get("messages")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "role" in turns[0]


def _make(record: Record) -> Example:
    return messages_example(record, "messages")


def messages_example(record: Record, key: str) -> Example:
    """The example of the messages under that key."""
    turns: list[Message] = []
    for turn in list_of(record.values, key):
        if not isinstance(turn, dict):
            raise RowError("a message is no object")
        turns.append(_turn(turn, turns))
    return example(record.line, turns, tools_of(record.values.get("tools")))


def _turn(turn: dict[str, Any], before: list[Message]) -> Message:
    role, content = turn.get("role"), _content(turn.get("content"))
    if role in ("tool", "function"):
        return answer(content, before)
    if role not in ROLES:
        raise RowError(f"unknown role {role!r}: known are {', '.join(ROLES)}, tool")
    calls = turn.get("tool_calls") or ([{"function": turn["function_call"]}] if turn.get("function_call") else [])
    if not isinstance(calls, list) or not all(isinstance(made, dict) for made in calls):
        raise RowError("`tool_calls` is no list of objects")
    if calls and role == "assistant":
        return call([function_of(made.get("function")) for made in calls], content, first=len(before) + 1)
    return say(ROLES[role], content)


def _content(content: object) -> str:
    """Words: a text, nothing, or parts that are all text."""
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else {} for part in content]
        if any(part.get("type") not in ("text", "input_text", "output_text") for part in parts):
            raise RowError("a part of the content is no text: pictures and sound cannot be asked here")
        return "".join(text_of(part, "text") for part in parts)
    return text_of({"content": content}, "content")


OPENAI = Format("openai", "messages of role and content (OpenAI, TRL, ms-swift)", _fits, row_by_row(_make))
