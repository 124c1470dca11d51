"""A question in the OpenAI dialect: streamed where the server streams, in one piece where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ggship.clock import Clock
from ggship.errors import ServerError
from ggship.runtimes.gathering import ANSWER_SECONDS, Gathering
from ggship.runtimes.model import Answer, ChatOptions
from ggship.transport import Reply, Transport

_UNDERSTOOD = (400, 422)
"""How servers refuse a field: OpenAI and llama.cpp the one, those on FastAPI the other."""

Refusal = Callable[[Reply], ServerError]


class OpenAIChat:
    """Asks /chat/completions, and remembers what that server does not take: a question refused so was never begun.

    refusal: makes the error of a reply that is one. odd: that of an answer of another shape.
    """

    def __init__(
        self, http: Transport, label: str, clock: Clock, *, refusal: Refusal, odd: Callable[[str], ServerError]
    ) -> None:
        self._http = http
        self._label = label
        self._clock = clock
        self._refusal = refusal
        self._odd = odd
        self._streams = True
        self._counts = True
        self._renamed = False

    def ask(self, body: Mapping[str, Any], options: ChatOptions) -> Answer:
        """The answer. Raises ServerError."""
        while True:
            gathering = Gathering(self._label, options, self._clock)
            with self._http.stream("POST", "/chat/completions", json=self._spelled(body), within=ANSWER_SECONDS) as (
                reply,
                lines,
            ):
                if reply.ok:
                    return self._answer(gathering, lines)
            if not self._learn(reply):
                raise self._refusal(reply)

    def _spelled(self, body: Mapping[str, Any]) -> dict[str, Any]:
        asked = dict(body)
        if self._renamed:
            asked["max_completion_tokens"] = asked.pop("max_tokens")
        if self._streams:
            asked["stream"] = True
            if self._counts:
                asked["stream_options"] = {"include_usage": True}
        return asked

    def _learn(self, reply: Reply) -> bool:
        """Whether the refusal says what to do without."""
        text = reply.text() if reply.status in _UNDERSTOOD else ""
        if "max_completion_tokens" in text and not self._renamed:
            self._renamed = True
        elif ("stream_options" in text or "include_usage" in text) and self._streams and self._counts:
            self._counts = False
        elif "stream" in text and self._streams:
            self._streams = False
        else:
            return False
        return True

    def _answer(self, gathering: Gathering, lines: Iterator[str]) -> Answer:
        finish = ""
        usage: dict[str, Any] = {}
        for line in lines:
            if line.lstrip().startswith(("{", "[")):
                return self._whole(gathering, line, lines)
            kind, _, data = line.partition(":")
            gathering.add()
            if kind not in ("data", "error") or data.strip() in ("", "[DONE]"):
                continue
            piece = self._piece(data)
            usage = _usage(piece) or usage
            for choice in piece.get("choices") or ():
                delta = choice.get("delta") or {}
                gathering.add(words_of(delta.get("content")), _thoughts(delta))
                gathering.call(delta.get("tool_calls") or ())
                finish = choice.get("finish_reason") or finish
        if not finish:
            # [DONE] alone is no end: gateways send it after an answer that broke off, too.
            raise ServerError(f"{self._label}: the answer broke off", hint="run the same command again")
        return gathering.answer(
            str(finish), prompt_tokens=usage.get("prompt_tokens"), tokens=usage.get("completion_tokens")
        )

    def _whole(self, gathering: Gathering, line: str, lines: Iterator[str]) -> Answer:
        """An answer in one piece: asked for, or from a server that streams nothing."""
        text = "\n".join([line, *lines])
        try:
            value = json.loads(text)
            choice = value["choices"][0]
            message, usage = choice["message"], value.get("usage") or {}
            said = gathering.answer(
                str(choice.get("finish_reason") or "stop"),
                prompt_tokens=usage.get("prompt_tokens"),
                tokens=usage.get("completion_tokens"),
                calls=message.get("tool_calls") or (),
            )
            return _with_words(said, message)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise self._odd(text) from error

    def _piece(self, data: str) -> Mapping[str, Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._odd(data) from error
        if not isinstance(value, dict):
            raise self._odd(data)
        if value.get("error"):
            raise self._refusal(Reply(500, data.encode()))
        return value


def words_of(content: Any) -> str:
    """The words of a message: a string, or a list of parts of which some are text."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")


def _thoughts(message: Mapping[str, Any]) -> str:
    return str(message.get("reasoning_content") or message.get("reasoning") or "")


def _usage(piece: Mapping[str, Any]) -> dict[str, Any]:
    usage = piece.get("usage")
    return usage if isinstance(usage, dict) else {}


def _with_words(answer: Answer, message: Mapping[str, Any]) -> Answer:
    from dataclasses import replace

    return replace(answer, text=words_of(message.get("content")), thinking=_thoughts(message))
