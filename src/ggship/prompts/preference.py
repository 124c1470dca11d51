"""Which template an Ollama since 0.30 renders with, where a model has both a Go TEMPLATE and Jinja in its GGUF."""

from __future__ import annotations

from typing import Literal

from ggship.prompts.gorender import identifiers
from ggship.prompts.gosyntax import parse_go

_ROUND_TRIPS = (
    "tool_response",
    "tool_results",
    "role'] == 'tool'",
    'role\'] == "tool"',
    "role\"] == 'tool'",
    'role"] == "tool"',
    "message.role == 'tool'",
    'message.role == "tool"',
    "ipython",
)


def template_preference(go_text: str, gguf_jinja: str | None) -> Literal["go", "jinja"]:
    """What Ollama chooses while OLLAMA_GO_TEMPLATE is not set and the model has no renderer, parser or harmony.

    The one with more capabilities of tools, thinking and insertion; the Go TEMPLATE where they are equal, unless only
    the Jinja can show the results of tools. Source: Ollama 0.32.14 and 0.34.4, server/images.go
    (shouldPreferChatTemplate). Not followed: a Go TEMPLATE's own thinking tags (InferTags), which ours never has.
    Raises UsageError where the Go text cannot be read.
    """
    if not gguf_jinja:
        return "go"
    variables = identifiers(parse_go(go_text))
    jinja = _jinja_capabilities(gguf_jinja)
    go = {name for name, variable in (("tools", "tools"), ("insert", "suffix")) if variable in variables}
    go_round_trip = {"tools", "toolcalls"} <= variables and any(
        mark in go_text for mark in ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
    )
    if len(jinja) > len(go):
        return "jinja" if not go_round_trip or _jinja_round_trip(gguf_jinja) else "go"
    if jinja == go and "tools" in go and _jinja_round_trip(gguf_jinja) and not go_round_trip:
        return "jinja"
    return "go"


def _jinja_capabilities(text: str) -> set[str]:
    found = set()
    if "tools" in text or "tool_call" in text:
        found.add("tools")
    if ("<think>" in text and "</think>" in text) or (
        ("content.split('</think>')" in text or 'content.split("</think>")' in text)
        and "reasoning_content" not in text
        and "<SPECIAL_12>" not in text
    ):
        found.add("thinking")
    return found


def _jinja_round_trip(text: str) -> bool:
    called = "tool_calls" in text or "assistant_tool_call" in text
    return called and any(mark in text for mark in _ROUND_TRIPS)
