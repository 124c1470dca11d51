"""A conversation of a data set, turn by turn, cut where the model answers: what every chat format ends in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ggship.evals.datasets.model import Example, RowError
from ggship.runtimes.model import FunctionCall, Message, ToolCall

_HALF = re.compile("[\ud800-\udfff]")


def say(role: str, content: str) -> Message:
    """A turn of words."""
    return Message(role=role, content=content)


def call(calls: Iterable[tuple[str, str]], content: str = "", *, first: int = 1) -> Message:
    """A turn of the assistant that calls tools: (name, arguments as JSON text) each."""
    made = tuple(
        ToolCall(id=f"call_{number}", type="function", function=FunctionCall(name=name, arguments=arguments))
        for number, (name, arguments) in enumerate(calls, start=first)
    )
    return Message(role="assistant", content=content, tool_calls=made)


def answer(content: str, turns: Sequence[Message]) -> Message:
    """A tool's answer to the last call among these turns."""
    called = [made["id"] for turn in turns for made in turn.get("tool_calls", ())]
    if not called:
        raise RowError("a tool answers that nobody called")
    return Message(role="tool", content=content, tool_call_id=called[-1])


def example(line: int, turns: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Example:
    """The conversation up to its last answer. RowError where nobody asks, or nobody answers."""
    last = len(turns) - 1
    while last >= 0 and turns[last]["role"] != "assistant":
        last -= 1
    if last < 0:
        raise RowError("nobody answers in this conversation")
    asked, reply = turns[:last], turns[last]
    if not asked or asked[-1]["role"] not in ("user", "tool"):
        raise RowError("the last answer follows no question")
    if not any(turn["role"] == "user" and turn["content"].strip() for turn in asked):
        raise RowError("the user says nothing")
    if any(_HALF.search(turn["content"]) for turn in turns):
        raise RowError("half a character: \\ud800 to \\udfff in JSON stand for one in pairs only")
    calls = tuple(made["function"]["name"] for made in reply.get("tool_calls", ()))
    reference = reply["content"].strip()
    if not reference and not calls:
        raise RowError("the answer is empty")
    return Example(line, tuple(asked), reference, calls, tuple(tools))


def tools_of(value: object) -> tuple[Mapping[str, Any], ...]:
    """Tools as a data set writes them (a list, or a list as JSON text), in OpenAI's shape."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RowError("`tools` is no JSON") from error
    if value in (None, "", [], {}):
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise RowError("`tools` is no list of objects")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in value)


def function_of(value: object) -> tuple[str, str]:
    """(name, arguments as JSON text) of a call as a data set writes it: an object, or an object as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RowError("a call of a tool is no JSON") from error
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise RowError("a call of a tool has no name")
    given = value.get("arguments", value.get("parameters", {}))
    return value["name"], given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
