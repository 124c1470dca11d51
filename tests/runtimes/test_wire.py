"""Calls of tools and embeddings, as each kind of server wants and gives them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ggship.errors import ServerError
from ggship.runtimes.endpoints import OllamaEndpoint, OpenAIEndpoint
from ggship.runtimes.model import ChatOptions, FunctionCall, Message, ToolCall
from ggship.runtimes.ollama_api import OllamaClient
from ggship.runtimes.wire import gather, tool_calls
from ggship.transport import Reply, Sent, Transport

TOOL = {"type": "function", "function": {"name": "law", "parameters": {"type": "object"}}}
CALL = ToolCall(id="call_1", type="function", function=FunctionCall(name="law", arguments='{"nr": 5}'))
TALK = (
    Message(role="user", content="§ 5?"),
    Message(role="assistant", content="", tool_calls=(CALL,)),
    Message(role="tool", content="text", tool_call_id="call_1"),
)


class Server:
    """Answers every request with one value, and keeps what it was asked."""

    def __init__(self, value: Any, lines: bool = False) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.body = json.dumps(value).encode() + (b"\n" if lines else b"")

    def __call__(self, request: Sent) -> Reply:
        if request.path == "/api/show":
            return Reply(200, b"{}")
        self.asked.append((request.path, request.json()))
        return Reply(200, self.body)


def openai(server: Server) -> OpenAIEndpoint:
    return OpenAIEndpoint("http://host/v1", "law", transport=Transport("http://host/v1", handler=server))


def ollama(server: Server) -> OllamaEndpoint:
    return OllamaEndpoint(
        OllamaClient("http://host:11434", transport=Transport("http://host:11434", handler=server)), "law"
    )


def test_openai_like_servers_are_offered_tools_and_their_calls_are_kept() -> None:
    made = {"id": "chatcmpl-xyz", "type": "function", "function": {"name": "law", "arguments": '{"nr": 5}'}}
    server = Server({"choices": [{"message": {"content": None, "tool_calls": [made]}, "finish_reason": "tool_calls"}]})
    answer = openai(server).chat(TALK, ChatOptions(tools=(TOOL,)))
    assert (answer.text, answer.finish, answer.tool_calls) == ("", "tool_calls", (CALL,))
    (_, asked), *_ = server.asked
    assert asked["tools"] == [TOOL]
    assert asked["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"nr": 5}'
    assert asked["messages"][2]["tool_call_id"] == "call_1"


def test_ollama_is_offered_tools_in_its_own_shape() -> None:
    said = {"content": "", "tool_calls": [{"function": {"name": "law", "arguments": {"nr": 5}}}]}
    server = Server({"message": said, "done": True, "done_reason": "stop"}, lines=True)
    answer = ollama(server).chat(TALK, ChatOptions(tools=(TOOL,)))
    assert answer.tool_calls == (CALL,)
    asked = next(body for path, body in server.asked if path == "/api/chat")
    assert asked["tools"] == [TOOL]
    assert asked["messages"][1]["tool_calls"] == [{"function": {"name": "law", "arguments": {"nr": 5}}}]
    assert asked["messages"][2] == {"role": "tool", "content": "text", "tool_name": "law"}


def test_a_stream_brings_calls_in_pieces() -> None:
    calls: dict[int, dict[str, Any]] = {}
    gather(calls, [{"index": 0, "id": "x", "function": {"name": "law", "arguments": ""}}])
    gather(calls, [{"index": 0, "function": {"arguments": '{"nr"'}}, {"index": 1, "function": {"name": "b"}}])
    gather(calls, [{"index": 0, "function": {"arguments": ": 5}"}}])
    made = tool_calls([calls[index] for index in sorted(calls)], "law")
    assert [call["function"]["name"] for call in made] == ["law", "b"]
    assert made[0]["function"]["arguments"] == '{"nr": 5}'


@pytest.mark.parametrize("call", [None, {}, {"function": {"arguments": "{}"}}, {"function": "law"}])
def test_a_call_of_nothing_is_an_error(call: Any) -> None:
    with pytest.raises(ServerError, match="and not which"):
        tool_calls([call], "law")


def test_embeddings_of_both_dialects() -> None:
    server = Server({"data": [{"embedding": [1, 0.5]}, {"embedding": [0, 1]}]})
    assert openai(server).embed(["a", "b"]) == [[1.0, 0.5], [0.0, 1.0]]
    assert server.asked == [("/v1/embeddings", {"model": "law", "input": ["a", "b"]})]
    own = Server({"embeddings": [[1, 0.5], [0, 1]]})
    assert ollama(own).embed(["a", "b"]) == [[1.0, 0.5], [0.0, 1.0]]
    assert own.asked == [("/api/embed", {"model": "law", "input": ["a", "b"], "truncate": False})]


@pytest.mark.parametrize(
    "value", [{}, {"data": []}, {"data": [{"embedding": []}] * 2}, {"data": [{"embedding": ["x"]}] * 2}]
)
def test_no_embeddings_are_an_error(value: Any) -> None:
    with pytest.raises(ServerError, match="gave no embeddings"):
        openai(Server(value)).embed(["a", "b"])
