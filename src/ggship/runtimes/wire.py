"""Calls of tools and vectors, between what servers say and our own values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ggship.errors import ServerError
from ggship.runtimes.model import FunctionCall, Message, ToolCall


def ollama_turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as Ollama's /api/chat takes them: arguments are objects there, and a tool's answer names its tool.

    Source: Ollama 0.34.4, api/types.go (ToolCallFunction, Message.ToolName).
    """
    called = {call["id"]: call["function"]["name"] for turn in messages for call in turn.get("tool_calls", ())}
    return [_ollama_turn(turn, called) for turn in messages]


def _ollama_turn(turn: Message, called: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"role": turn["role"], "content": turn["content"]}
    if "tool_calls" in turn:
        made["tool_calls"] = [
            {"function": {"name": call["function"]["name"], "arguments": _object(call["function"]["arguments"])}}
            for call in turn["tool_calls"]
        ]
    if "tool_call_id" in turn:
        made["tool_name"] = called.get(turn["tool_call_id"], "")
    return made


def _object(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def tool_calls(given: Iterable[Any], label: str) -> tuple[ToolCall, ...]:
    """The calls that a server says the model made, in OpenAI's shape. ServerError where they are none."""
    made = []
    for number, call in enumerate(given, start=1):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ServerError(f"{label} says that a tool was called, and not which", where=str(call)[:200])
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        # Servers make up an id for each call; the same answer gets the same one here.
        named = FunctionCall(name=function["name"], arguments=text)
        made.append(ToolCall(id=f"call_{number}", type="function", function=named))
    return tuple(made)


def gather(calls: dict[int, dict[str, Any]], pieces: Iterable[Any]) -> None:
    """Put the pieces of calls that a stream brings to those that came before: names once, arguments bit by bit."""
    for piece in pieces:
        function = piece.get("function") or {}
        whole = calls.setdefault(int(piece.get("index") or 0), {"function": {"name": "", "arguments": ""}})["function"]
        whole["name"] += str(function.get("name") or "")
        whole["arguments"] += str(function.get("arguments") or "")


def vectors(given: Any, texts: Sequence[str], label: str) -> list[list[float]]:
    """The vectors that a server made of these texts, one each. ServerError where they are none."""
    sound = isinstance(given, list) and len(given) == len(texts)
    if not sound or not all(
        isinstance(row, list) and row and all(isinstance(value, int | float) for value in row) for row in given
    ):
        raise ServerError(f"{label} gave no embeddings", where=str(given)[:200], hint="can that model make them?")
    return [[float(value) for value in row] for row in given]
