"""Reading the conversation of a test: its turns, and the tools that the model may call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ggship.evals.document import Place, did_you_mean
from ggship.evals.load_assert import fill
from ggship.runtimes.model import FunctionCall, Message, ToolCall

ROLES = ("system", "user", "assistant", "tool")
TURN_KEYS = ("role", "content", "tool_calls", "tool_call_id", "by")
CALL_KEYS = ("id", "type", "function")
FUNCTION_KEYS = ("name", "description", "parameters", "strict")


def read_messages(
    test: Place, fields: Mapping[str, Place], defaults: Mapping[str, Place], variables: Mapping[str, str]
) -> tuple[Message, ...]:
    """The turns up to the one that the model answers, its system message included."""
    if ("prompt" in fields) == ("messages" in fields):
        raise test.error("a test has either `prompt` or `messages`, and one of them it needs")
    turns: list[Message] = []
    if "prompt" in fields:
        turns.append(Message(role="user", content=fill(fields["prompt"], variables)))
    for item in fields["messages"].items() if "messages" in fields else ():
        turns.append(_turn(item, turns, variables))
    if not turns or turns[-1]["role"] not in ("user", "tool"):
        raise test.error("a conversation ends with what the user says: that is what the model answers")
    system = fields.get("system") or defaults.get("system")
    if system is not None and turns[0]["role"] != "system":
        turns.insert(0, Message(role="system", content=fill(system, variables)))
    elif "system" in fields:
        raise fields["system"].error("the conversation already begins with a system message")
    return tuple(turns)


def _turn(item: Place, before: list[Message], variables: Mapping[str, str]) -> Message:
    turn = item.fields(TURN_KEYS, required=("role",))
    role = turn["role"].text()
    if role not in ROLES:
        raise turn["role"].error(f"unknown role `{role}`", did_you_mean(role, ROLES))
    if "tool_calls" in turn and role != "assistant":
        raise turn["tool_calls"].error(f"only the assistant calls tools, not the {role}")
    if "by" in turn:
        return _of_model(turn, before)
    if "content" not in turn and "tool_calls" not in turn:
        hint = "write `by: model` where the model itself is to answer" if role == "assistant" else ""
        raise item.error("the key `content` is missing", hint)
    message = Message(role=role, content=fill(turn["content"], variables) if "content" in turn else "")
    if "tool_calls" in turn:
        calls = turn["tool_calls"].items()
        message["tool_calls"] = tuple(_call(call, len(before) + number) for number, call in enumerate(calls, start=1))
    if role == "tool":
        called = [call["id"] for said in before for call in said.get("tool_calls", ())]
        answered = turn["tool_call_id"].text() if "tool_call_id" in turn else (called or [""])[-1]
        if answered not in called:
            raise item.error("a tool answers a call that no turn before it makes", did_you_mean(answered, called))
        message["tool_call_id"] = answered
    elif "tool_call_id" in turn:
        raise turn["tool_call_id"].error(f"only a tool answers a call, not the {role}")
    return message


def _of_model(turn: Mapping[str, Place], before: list[Message]) -> Message:
    """A turn that the model under test says itself, while it is asked."""
    by = turn["by"]
    if by.text() != "model":
        raise by.error(f"`{by.text()}` answers nothing here", "`by: model`, where the model itself is to answer")
    if turn["role"].text() != "assistant":
        raise by.error(f"the model speaks as the assistant, not as the {turn['role'].text()}")
    for name in ("content", "tool_calls"):
        if name in turn:
            raise turn[name].error("what the model is to say itself cannot be written here")
    if not before or before[-1]["role"] not in ("user", "tool"):
        raise by.error("there is nothing before it that the model could answer")
    return Message(role="assistant", content="", by="model")


def _call(place: Place, number: int) -> ToolCall:
    fields = place.fields(CALL_KEYS, required=("function",))
    function = fields["function"].fields(("name", "arguments"), required=("name",))
    arguments = function.get("arguments")
    given = arguments.plain() if arguments is not None else {}
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return ToolCall(
        id=fields["id"].text() if "id" in fields else f"call_{number}",
        type="function",
        function=FunctionCall(name=function["name"].text(), arguments=text),
    )


def read_tools(place: Place | None) -> tuple[Mapping[str, Any], ...]:
    """Tools in OpenAI's shape; the wrapping `{type: function, function: ...}` may be left out."""
    return tuple(_tool(item) for item in place.items()) if place is not None else ()


def _tool(item: Place) -> Mapping[str, Any]:
    inner = item.entries()
    body = item.fields(("type", "function"))["function"] if "function" in inner else item
    body.fields(FUNCTION_KEYS, required=("name",))
    made: dict[str, Any] = body.plain()
    return {"type": "function", "function": {**made, "name": body.entries()["name"].text()}}
