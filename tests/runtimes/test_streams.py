"""Answers in the OpenAI dialect over real sockets: as real servers stream them, and as no real server should."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ggship.errors import ServerError
from ggship.evals.patience import Patience
from ggship.runtimes.endpoints import OllamaEndpoint, OpenAIEndpoint
from ggship.runtimes.model import Answer, ChatOptions, Message
from ggship.runtimes.ollama_api import OllamaClient
from ggship.transport import Transport

ASK = [Message(role="user", content="?")]
# What Ollama 0.34.4 sent, the ids left out.
OLLAMA = [
    '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"I"},"finish_reason":null}]}',
    '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"\'m"},"finish_reason":null}]}',
    '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}',
    '{"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":14,"prompt_tokens_details":{"cached_tokens":13},'
    '"completion_tokens":4,"total_tokens":18}}',
    "[DONE]",
]
Body = Callable[[dict[str, Any]], Iterator[bytes]]


class Server:
    """Answers each request with the bytes that `body` gives, and hangs up."""

    def __init__(self, body: Body) -> None:
        self.asked: list[dict[str, Any]] = []
        self.hung_up = threading.Event()
        self._body = body
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += file.readline()
                length = next(
                    int(line.split(b":")[1]) for line in head.lower().splitlines() if b"content-length" in line
                )
                self.asked.append(json.loads(file.read(length)))
                try:
                    for data in self._body(self.asked[-1]):
                        connection.sendall(data)
                except OSError:
                    self.hung_up.set()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Body], Server]]:
    made: list[Server] = []

    def start(body: Body) -> Server:
        made.append(Server(body))
        return made[-1]

    yield start
    for server in made:
        server.close()


def head(status: str = "200 OK", kind: str = "text/event-stream", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n{more}\r\n".encode()


def events(*lines: str) -> Iterator[bytes]:
    yield head()
    for line in lines:
        yield f"data: {line}\n\n".encode()


def said(text: str, finish: str | None = None) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})


def ask(server: Server, options: ChatOptions | None = None, **more: Any) -> Answer:
    endpoint = OpenAIEndpoint(f"{server.url}/v1", "law", **more)
    try:
        return endpoint.chat(ASK, options or ChatOptions())
    finally:
        endpoint.close()


def test_a_streamed_answer_tells_when_its_first_word_came(serve: Any) -> None:
    server = serve(lambda _: events(*OLLAMA))
    answer = ask(server)
    assert (answer.text, answer.finish, answer.prompt_tokens, answer.tokens) == ("I'm", "length", 14, 4)
    assert answer.first_token_seconds is not None
    assert 0 < answer.first_token_seconds <= answer.seconds
    assert server.asked[0]["stream_options"] == {"include_usage": True}


def test_what_a_server_does_not_take_is_left_out_from_then_on(serve: Any) -> None:
    whole = '{"choices":[{"message":{"content":"Paris."},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}'

    def body(request: dict[str, Any]) -> Iterator[bytes]:
        if "stream_options" in request:
            refusal = '{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}'
            yield head("422 Unprocessable Entity", "application/json") + refusal.encode()
        elif request.get("stream"):
            yield head("400 Bad Request", "application/json") + b'{"error":{"message":"stream is not supported"}}'
        else:
            yield head(kind="application/json") + whole.encode()

    server = serve(body)
    endpoint = OpenAIEndpoint(f"{server.url}/v1", "law")
    for _ in range(2):
        answer = endpoint.chat(ASK, ChatOptions())
        assert (answer.text, answer.tokens, answer.first_token_seconds) == ("Paris.", 2, None)
    assert [sorted({"stream", "stream_options"} & set(request)) for request in server.asked] == [
        ["stream", "stream_options"],
        ["stream"],
        [],
        [],
    ]
    endpoint.close()


def test_calls_of_tools_come_in_pieces(serve: Any) -> None:
    def piece(**function: str) -> str:
        call = {"index": 0, "function": function}
        return json.dumps({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": None}]})

    pieces = [piece(name="law", arguments=""), piece(arguments='{"n"'), piece(arguments=": 5}"), said("", "tool_calls")]
    server = serve(lambda _: events("\n\n: ping", *pieces, "[DONE]"))
    answer = ask(server)
    assert answer.tool_calls[0]["function"] == {"name": "law", "arguments": '{"n": 5}'}
    assert answer.finish == "tool_calls"


def test_two_megabytes_and_broken_utf8_are_an_answer(serve: Any) -> None:
    def body(_: Any) -> Iterator[bytes]:
        yield from events(said("a" * (2 << 20)))
        yield b'data: {"choices":[{"delta":{"content":"b\xff\xc3"},"finish_reason":"stop"}]}\r\n\r\n'

    answer = ask(serve(body))
    assert len(answer.text) == (2 << 20) + 3
    assert answer.text.endswith("ab\ufffd\ufffd")


@pytest.mark.parametrize("end", ["nothing", "[DONE]", "error"])
def test_an_answer_that_breaks_off_is_none(serve: Any, end: str) -> None:
    more = {"[DONE]": ["[DONE]"], "error": ['{"error":{"message":"out of memory"}}']}.get(end, [])
    with pytest.raises(ServerError, match="HTTP 500: out of memory" if end == "error" else "broke off"):
        ask(serve(lambda _: events(said("Par"), *more)))


class Leaping:
    """A clock on which every look is a minute later."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        self.seconds += 60
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def endless(line: bytes) -> Body:
    def body(_: Any) -> Iterator[bytes]:
        yield head()
        while True:
            yield line

    return body


PIECE = f"data: {said('a')}\n\n".encode()
NATIVE = b'{"message":{"role":"assistant","content":"a"},"done":false}\n'


@pytest.mark.parametrize(
    ("line", "how"),
    [
        (PIECE, "more than 4128 pieces, and 2 tokens were asked for"),
        (f"data: {said('a' * (1 << 20))}\n\n".encode(), "more than 8 million characters"),
        (b"data: [DONE]\n\n", "pieces"),
        (b": ping\n\n", "pieces"),
    ],
)
def test_a_server_that_streams_for_ever_is_left(serve: Any, line: bytes, how: str) -> None:
    server = serve(endless(line))
    with pytest.raises(ServerError, match=how) as caught:
        ask(server, ChatOptions(num_predict=2))
    assert caught.value.status == 200, "it is there, and the next case is asked"
    assert server.hung_up.wait(10), "and need not go on"


@pytest.mark.parametrize(("line", "how"), [(PIECE, "more than 30 minutes"), (b"x", "has no end")])
def test_time_ends_what_drips(serve: Any, line: bytes, how: str) -> None:
    server, clock = serve(endless(line)), Leaping()
    with pytest.raises(ServerError, match=how):
        ask(server, clock=clock, transport=Transport(f"{server.url}/v1", clock=clock if how == "has no end" else None))


def test_ollama_too_is_left_where_it_streams_for_ever(serve: Any) -> None:
    def body(request: dict[str, Any]) -> Iterator[bytes]:
        if "messages" in request:
            yield from endless(NATIVE + NATIVE.replace(b'"a"', b'"b"'))(request)
        yield head(kind="application/json") + b'{"capabilities":["completion"]}'

    server = serve(body)
    endpoint = OllamaEndpoint(OllamaClient(server.url), "law")
    with pytest.raises(ServerError, match="answer without end"):
        endpoint.chat(ASK, ChatOptions(num_predict=2))


@pytest.mark.parametrize(
    ("header", "slept"),
    [("Retry-After: 7\r\n", [7.0]), ("", [0.5]), ("Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n", [0.0])],
)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_busy_server_is_asked_again_when_it_says(serve: Any, status: str, header: str, slept: list[float]) -> None:
    def body(_: Any) -> Iterator[bytes]:
        if len(server.asked) == 1:
            yield head(status, "application/json", header) + b'{"error":{"message":"busy"}}'
        else:
            yield from events(said("Paris.", "stop"))

    server, clock = serve(body), Leaping()
    endpoint = OpenAIEndpoint(f"{server.url}/v1", "law")
    assert Patience(clock).ask(endpoint, ASK, ChatOptions()).text == "Paris."  # type: ignore[arg-type]
    assert clock.slept == slept
    endpoint.close()


def test_one_that_wants_an_hour_is_not_waited_for(serve: Any) -> None:
    server, clock = serve(lambda _: iter([head("429 Busy", more="Retry-After: 3600\r\n")])), Leaping()
    endpoint = OpenAIEndpoint(f"{server.url}/v1", "law")
    with pytest.raises(ServerError, match="429"):
        Patience(clock).ask(endpoint, ASK, ChatOptions())  # type: ignore[arg-type]
    assert clock.slept == []
    endpoint.close()


def test_an_answer_that_was_begun_is_never_asked_for_again(serve: Any) -> None:
    server, clock = serve(lambda _: events(said("Par"))), Leaping()
    endpoint = OpenAIEndpoint(f"{server.url}/v1", "law")
    with pytest.raises(ServerError, match="broke off"):
        Patience(clock).ask(endpoint, ASK, ChatOptions())  # type: ignore[arg-type]
    assert len(server.asked) == 1
    slow = OpenAIEndpoint(f"{server.url}/v1", "law", transport=Transport(f"{server.url}/v1", read_seconds=0.2))
    server._body = lambda _: iter([head(), b"", *[]]) if threading.Event().wait(1) else iter([])
    with pytest.raises(ServerError, match="too long"):
        Patience(clock).ask(slow, ASK, ChatOptions())  # type: ignore[arg-type]
    assert len(server.asked) == 2
    endpoint.close()


def test_waiting_has_an_end_for_all_cases_together(serve: Any) -> None:
    server, clock = serve(lambda _: iter([head("503 Busy", more="Retry-After: 50\r\n")])), Leaping()
    endpoint, patience = OpenAIEndpoint(f"{server.url}/v1", "law"), Patience(clock)  # type: ignore[arg-type]
    for _ in range(9):
        with pytest.raises(ServerError, match="503"):
            patience.ask(endpoint, ASK, ChatOptions())
    assert sum(clock.slept) <= 300
    endpoint.close()
