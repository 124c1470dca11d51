"""Answers as they come, for whoever measures a server: asked once, never again, and every way to fail has its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ggship.errors import ServerError, ServerSilent, ServerUnreachable
from ggship.runtimes.model import ChatOptions, Endpoint, Message
from ggship.runtimes.ollama_errors import error_text
from ggship.transport import Transport

_NANO = 1e-9
_SHOWN = 300

BUSY, LIMITED, TIMEOUT, UNREACHABLE, BROKEN, INSIDE, EMPTY = (
    "busy",  # 503: Ollama's queue is full, or there is no server behind the gateway
    "limited",  # 429
    "timeout",
    "unreachable",
    "broken off",  # the connection ended, or what came was no answer
    "error inside",  # an error in an answer that began with status 200
    "empty",
)

Request = Callable[[Sequence[Message], ChatOptions], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class End:
    """What a server says when an answer is over; None where it does not. Times in seconds.

    cached_tokens: how many tokens of the prompt it had in memory. work_seconds: what it computed for this answer,
    the rest of the time the request waited. load_seconds: until the model was there.
    """

    tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    work_seconds: float | None = None
    load_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A bit of an answer. words: whether it holds any, thoughts and calls of tools included. end: with the last one.

    after: seconds from the question, where somebody else has measured; None: now.
    """

    words: bool
    end: End | None = None
    after: float | None = None


class AnswerFailed(ServerError):
    """No answer, or none that is whole. kind: one of the names above, or "http NNN"."""

    def __init__(self, kind: str, message: str, *, where: str = "", status: int | None = None) -> None:
        super().__init__(message, where=where[:_SHOWN], status=status)
        self.kind = kind


class AnswerStream(Protocol):
    """One connection that asks one question at a time."""

    def ask(self, messages: Sequence[Message], options: ChatOptions) -> Iterator[Piece]:
        """The pieces of one answer, the last with `end`. Raises ServerError; see `kind_of`."""
        ...

    def close(self) -> None:
        """Drop the connection."""
        ...


def kind_of(error: ServerError) -> str:
    """In a word, how asking failed."""
    if isinstance(error, AnswerFailed):
        return error.kind
    if isinstance(error, ServerUnreachable):
        return UNREACHABLE
    if isinstance(error, ServerSilent):
        return TIMEOUT
    return _of_status(error.status) if error.status else BROKEN


def _of_status(status: int) -> str:
    return {503: BUSY, 429: LIMITED}.get(status, f"http {status}")


class OllamaStream:
    """Asks /api/chat. A busy server is not asked again: that it was busy is what one wants to know."""

    def __init__(self, http: Transport, label: str, request: Request) -> None:
        self._http = http
        self._label = label
        self._request = request

    def ask(self, messages: Sequence[Message], options: ChatOptions) -> Iterator[Piece]:
        """The pieces of one answer."""
        body = {**self._request(messages, options), "stream": True}
        with self._http.stream("POST", "/api/chat", json=body) as (reply, lines):
            if not reply.ok:
                raise _refused(self._label, reply.status, error_text(reply.text()))
            for line in lines:
                if not line.strip():
                    continue
                piece = _decoded(line, self._label)
                if piece.get("done"):
                    yield Piece(_has_words(piece.get("message")), _ollama_end(piece))
                    return
                yield Piece(_has_words(piece.get("message")))
        raise AnswerFailed(BROKEN, f"{self._label}: the answer broke off")

    def close(self) -> None:
        """Drop the connection."""
        self._http.close()


class OpenAIStream:
    """Asks /chat/completions of anything that speaks the OpenAI dialect. clean: takes the key out of a server's words.

    The end is a `finish_reason`, and the usage where the server tells it after that; [DONE] alone is no end, since
    gateways send it after an answer that broke off, too.
    """

    def __init__(self, http: Transport, label: str, request: Request, clean: Callable[[str], str]) -> None:
        self._http = http
        self._label = label
        self._request = request
        self._clean = clean
        self._renamed = False

    def ask(self, messages: Sequence[Message], options: ChatOptions) -> Iterator[Piece]:
        """The pieces of one answer."""
        body = {**self._request(messages, options), "stream": True, "stream_options": {"include_usage": True}}
        if self._renamed:
            body["max_completion_tokens"] = body.pop("max_tokens")
        with self._http.stream("POST", "/chat/completions", json=body) as (reply, lines):
            if not reply.ok:
                text = self._clean(error_text(reply.text()))
                # What the next one, and not this one, has: a question is asked once.
                self._renamed = self._renamed or (reply.status == 400 and "max_completion_tokens" in text)
                raise _refused(self._label, reply.status, text)
            yield from self._answer(lines)

    def _answer(self, lines: Iterator[str]) -> Iterator[Piece]:
        finished = False
        usage: Mapping[str, Any] = {}
        for line in lines:
            kind, _, data = line.partition(":")
            if kind not in ("data", "error") or data.strip() in ("", "[DONE]"):
                if not kind.strip() or kind.startswith("{"):  # an error that is no event
                    _raise_inside(line, self._label, self._clean)
                continue
            piece = _decoded(data, self._label, self._clean)
            usage = piece.get("usage") or usage
            for choice in piece.get("choices") or ():
                yield Piece(_has_words(choice.get("delta") or choice.get("message")))
                finished = finished or bool(choice.get("finish_reason"))
        if not finished:
            raise AnswerFailed(BROKEN, f"{self._label}: the answer broke off")
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        yield Piece(False, End(_whole(usage, "completion_tokens"), _whole(usage, "prompt_tokens"), cached))

    def close(self) -> None:
        """Drop the connection."""
        self._http.close()


class ChatStream:
    """Any other endpoint, which says itself when the first word came."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def ask(self, messages: Sequence[Message], options: ChatOptions) -> Iterator[Piece]:
        """The first word, and the end."""
        answer = self._endpoint.chat(messages, options)
        said = bool(answer.text or answer.thinking or answer.tool_calls)
        if said and answer.first_token_seconds is not None:
            yield Piece(True, after=answer.first_token_seconds)
        yield Piece(said, End(answer.tokens, answer.prompt_tokens, load_seconds=answer.load_seconds))

    def close(self) -> None:
        """Nothing to drop."""


def open_stream(endpoint: Endpoint, read_seconds: float) -> AnswerStream:
    """A stream of questions to that endpoint, on a connection of its own where it has connections."""
    own = getattr(endpoint, "open_stream", None)
    stream: AnswerStream = own(read_seconds) if own else ChatStream(endpoint)
    return stream


def _refused(label: str, status: int, text: str) -> AnswerFailed:
    return AnswerFailed(_of_status(status), f"{label} answers HTTP {status}", where=text, status=status)


def _as_it_is(text: str) -> str:
    return text


def _decoded(data: str, label: str, clean: Callable[[str], str] = _as_it_is) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AnswerFailed(BROKEN, f"{label}: a line of the answer is not JSON", where=clean(data)) from error
    if not isinstance(value, dict):
        raise AnswerFailed(BROKEN, f"{label}: a line of the answer is not what it should be", where=clean(data))
    if value.get("error"):
        raise AnswerFailed(INSIDE, f"{label}: an error inside the answer", where=clean(error_text(data)))
    return value


def _raise_inside(line: str, label: str, clean: Callable[[str], str]) -> None:
    if line.strip():
        _decoded(line, label, clean)


def _has_words(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    return any(message.get(key) for key in ("content", "thinking", "reasoning_content", "reasoning", "tool_calls"))


def _whole(usage: Mapping[str, Any], key: str) -> int | None:
    value = usage.get(key)
    return value if isinstance(value, int) else None


def _ollama_end(piece: Mapping[str, Any]) -> End:
    """Durations are nanoseconds. The total holds the wait for a free place, which none of the parts does."""
    parts = [piece.get(key) for key in ("load_duration", "prompt_eval_duration", "eval_duration")]
    load, *work = [part * _NANO if isinstance(part, int) else None for part in parts]
    return End(
        tokens=_whole(piece, "eval_count"),
        prompt_tokens=_whole(piece, "prompt_eval_count"),
        cached_tokens=_whole(piece, "prompt_eval_cached_count"),
        work_seconds=sum(part or 0.0 for part in work) if any(part is not None for part in work) else None,
        load_seconds=load,
    )
