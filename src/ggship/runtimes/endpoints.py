"""Endpoints over HTTP: Ollama's own API, and the OpenAI dialect that everything else speaks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from ggship.clock import Clock, SystemClock
from ggship.errors import ServerError, UsageError
from ggship.runtimes.cliffs import SAME_TOKENS_BEFORE_ABORT
from ggship.runtimes.gathering import Gathering, OnText
from ggship.runtimes.model import ENABLE_THINKING, Answer, ChatOptions, Endpoint, Message, PromptTokens, Tools
from ggship.runtimes.ollama_api import OllamaClient
from ggship.runtimes.ollama_errors import error_text, retry_after
from ggship.runtimes.openai_chat import OpenAIChat
from ggship.runtimes.shown import parameters
from ggship.runtimes.wire import ollama_turns, vectors
from ggship.secrets import HIDDEN, Secret, may_travel, read_secret
from ggship.transport import Reply, Transport

if TYPE_CHECKING:
    from ggship.runtimes.streaming import AnswerStream

_NANO = 1e-9
KEY = "GGSHIP_API_KEY"
OPENAI_KEY = "OPENAI_API_KEY"
_OPENAI = ("https", "api.openai.com", 443)
_SHOWN_BODY = 600


class OllamaEndpoint:
    """One model of an Ollama server, asked through its native API."""

    def __init__(
        self, client: OllamaClient, model: str, *, clock: Clock | None = None, think: bool = ENABLE_THINKING
    ) -> None:
        self.model = model
        self.label = model
        self._client = client
        self._think = think
        self._clock = clock or SystemClock()
        self._shown: Mapping[str, Any] | None = None

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """Ask. The answer is streamed, so that the time of its first word is known."""
        return self.speak(messages, options, None)

    def speak(self, messages: Sequence[Message], options: ChatOptions, on_text: OnText | None) -> Answer:
        """Ask, and hear the words as they come."""
        request = self.request(messages, options)
        gathering = Gathering(self.label, options, self._clock, on_text)
        calls: list[Any] = []
        last: Mapping[str, Any] = {}
        try:
            for piece in self._client.chat_stream(request):
                message = piece.get("message") or {}
                gathering.add(str(message.get("content") or ""), str(message.get("thinking") or ""))
                calls += message.get("tool_calls") or []
                last = piece
        except ServerError:
            if not (_stuck(gathering.text) or _stuck(gathering.thinking)):
                raise
            last = {"done_reason": "repeating"}  # what the model did is known: the server gave up on its loop
        return gathering.answer(
            str(last.get("done_reason") or "stop"),
            prompt_tokens=last.get("prompt_eval_count"),
            tokens=last.get("eval_count"),
            load_seconds=last["load_duration"] * _NANO if "load_duration" in last else None,
            calls=calls,
        )

    def request(self, messages: Sequence[Message], options: ChatOptions) -> dict[str, Any]:
        """What `chat` asks /api/chat."""
        request: dict[str, Any] = {
            "model": self.model,
            "messages": ollama_turns(messages),
            "options": self._options(options),
        }
        if options.tools:
            request["tools"] = list(options.tools)
        if self._thinks():
            # Only for models that can think: others answer `think: false` well, but older servers refuse the field.
            request["think"] = self._think
        return request

    def open_stream(self, read_seconds: float) -> AnswerStream:
        """A connection of its own, for asking often. read_seconds: how long nothing may come."""
        from ggship.runtimes.streaming import OllamaStream

        return OllamaStream(Transport(self._client.url, read_seconds=read_seconds), self.label, self.request)

    def render(self, messages: Sequence[Message], tools: Tools = ()) -> str | None:
        """The prompt that the server really makes when it is asked as `chat` asks; None where it is too old to tell."""
        think = self._think if self._thinks() else None
        return self._client.render(self.model, ollama_turns(messages), think=think, tools=tools)

    def takes_tools(self) -> bool:
        """Whether the server holds the model for one that can be given tools."""
        return "tools" in (self._show().get("capabilities") or [])

    def prompt_tokens(self, messages: Sequence[Message], prompt: str) -> PromptTokens | None:
        """Asked for one token each: as `chat` asks, and with the text as a prompt of its own.

        `context`, what /api/generate hands back to be asked on with, is the server's own tokens; None where it is not
        there any more.
        """
        options = {"num_predict": 1, "temperature": 0}
        request: dict[str, Any] = {"model": self.model, "messages": ollama_turns(messages), "options": options}
        if self._thinks():
            request["think"] = self._think
        asked = self._client.chat(request).get("prompt_eval_count")
        bare = {"model": self.model, "prompt": prompt, "options": options}
        alone = self._client.generate({**bare, "raw": True}).get("prompt_eval_count")
        if not isinstance(asked, int) or not isinstance(alone, int):
            return None
        ids = self._client.generate({**bare, "template": "{{ .Prompt }}", "system": ""}).get("context")
        return PromptTokens(asked, alone, tuple(ids) if isinstance(ids, list) else None)

    def digest(self) -> str | None:
        """The digest of the model's manifest."""
        return self._client.digest(self.model)

    def setting(self) -> dict[str, Any]:
        """What else its answers depend on: the server, its version, and whether the model is told to think."""
        return {"ollama": self._client.url, "version": self._client.version(), "think": self._think}

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, of the model's own length. ServerError where the server makes none."""
        try:
            return vectors(self._client.embed(self.model, texts), texts, self.label)
        except ServerError as error:
            if "support embeddings" in error.where:
                error.hint = "name an embedding model, such as nomic-embed-text"
            raise

    def _options(self, options: ChatOptions) -> dict[str, Any]:
        # repeat_penalty: 1.1 until 0.32.0 and 1.0 after it (api/types.go), so it is always said.
        result: dict[str, Any] = {
            "temperature": options.temperature,
            "seed": options.seed,
            "num_predict": options.num_predict,
            "repeat_penalty": 1.0,
        }
        if options.temperature == 0:
            result["top_k"] = 1
        if options.num_ctx is not None:
            result["num_ctx"] = options.num_ctx
        if options.stop:
            # `stop` in a request takes the place of the model's own.
            own = parameters(self._show()).get("stop") or []
            result["stop"] = list(dict.fromkeys([*own, *options.stop]))
        return result

    def _thinks(self) -> bool:
        return "thinking" in (self._show().get("capabilities") or [])

    def _show(self) -> Mapping[str, Any]:
        if self._shown is None:
            self._shown = self._client.show(self.model)
        return self._shown


class OpenAIEndpoint:
    """One model behind anything that speaks the OpenAI dialect: vLLM, llama-server, a gateway, Ollama's /v1.

    url: up to and with /v1. key: the bearer token, sent to that address alone and never shown. at_once: questions at a
    time that such a server is glad of; it is built to serve many.
    """

    at_once = 4

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: Secret | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.model = model
        self.url = url.rstrip("/")
        self.label = f"{self.url}#{model}"
        self._key = key
        self._clock = clock or SystemClock()
        headers = {"Authorization": f"Bearer {key.reveal()}"} if key else {}
        # llama-server closes a connection that was idle for 5 seconds, now and then just when the next question comes.
        self._http = transport or Transport(self.url, headers={**headers, "Connection": "close"})
        self._chat = OpenAIChat(self._http, self.label, self._clock, refusal=self._refusal, odd=self._odd)

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """Ask. Streamed where the server streams, so that the time of the first word is known."""
        return self._chat.ask(self.request(messages, options), options)

    def request(self, messages: Sequence[Message], options: ChatOptions) -> dict[str, Any]:
        """What `chat` asks /chat/completions."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "temperature": options.temperature,
            "seed": options.seed,
            "max_tokens": options.num_predict,
        }
        if options.tools:
            body["tools"] = list(options.tools)
        if options.stop:
            body["stop"] = list(options.stop)
        return body

    def open_stream(self, read_seconds: float) -> AnswerStream:
        """A connection of its own, for asking often. read_seconds: how long nothing may come."""
        from ggship.runtimes.streaming import OpenAIStream

        headers = {"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {}
        return OpenAIStream(
            Transport(self.url, headers=headers, read_seconds=read_seconds), self.label, self.request, self._clean
        )

    def render(self, messages: Sequence[Message]) -> str | None:  # noqa: ARG002  (the protocol has it)
        """None: the dialect has no way to tell."""
        return None

    def digest(self) -> str | None:
        """None: the dialect names a model, not its content."""
        return None

    def setting(self) -> dict[str, Any]:
        """What is known of where its answers come from."""
        return {"openai": self.url, "model": self.model}

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, of the model's own length. ServerError where the server makes none."""
        reply = self._http.request("POST", "/embeddings", json={"model": self.model, "input": list(texts)})
        if not reply.ok:
            raise self._refusal(reply)
        value = reply.json()
        rows = value.get("data") if isinstance(value, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ServerError(f"{self.label} gave no embeddings", where=self._clean(str(value)))
        return vectors([row.get("embedding") for row in rows], texts, self.label)

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def _odd(self, text: str) -> ServerError:
        return ServerError(
            f"{self.label} did not answer as the OpenAI dialect does",
            where=self._clean(text),
            hint="is the address complete? It usually ends in /v1",
        )

    def _refusal(self, reply: Reply) -> ServerError:
        hints = {
            401: f"set {KEY} (or {KEY}_FILE) to the key of that server; of two servers, only the first is sent it",
            403: "the key may not use that model",
            404: f"is the address complete (it usually ends in /v1), and is there a model {self.model}?",
            429: "the server wants fewer requests: try again later",
        }
        return ServerError(
            f"{self.label} answers HTTP {reply.status}",
            where=self._clean(error_text(reply.text())),
            hint=hints.get(reply.status, "try again in a moment" if reply.status >= 500 else ""),
            status=reply.status,
            retry_after=retry_after(reply.headers),
        )

    def _clean(self, text: str) -> str:
        return (self._key.hide_in(text) if self._key else text)[:_SHOWN_BODY]


def parse_endpoint(
    text: str, *, env: Mapping[str, str] = os.environ, beside: Endpoint | None = None, key: str = KEY
) -> OllamaEndpoint | OpenAIEndpoint:
    """The endpoint that URL#MODEL names.

    An address with a path (http://host/v1) speaks the OpenAI dialect; one without (http://host:11434) is an Ollama.
    key: the variable that its key stands in. beside: an endpoint of the same command; where it is on another host, that
    one has the key, and this one gets none.
    Raises UsageError where it is no URL#MODEL, or its key may not travel there.
    """
    url, _, model = text.partition("#")
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or not model:
        raise UsageError(
            f"this names no model at an address: {_without_key(text)}",
            where="it is written URL#MODEL",
            hint="for example http://127.0.0.1:8000/v1#law-helper",
        )
    if parts.username or parts.password:
        raise UsageError("a key does not belong into the address", hint=f"put it into {key}")
    if parts.path.strip("/"):
        ours = not isinstance(beside, OpenAIEndpoint) or _origin(urlsplit(beside.url)) == _origin(parts)
        return OpenAIEndpoint(url, model, key=api_key(url, env, ours=ours, name=key))
    endpoint = OllamaEndpoint(OllamaClient(url), model)
    endpoint.label = f"{url.rstrip('/')}#{model}"
    return endpoint


def api_key(url: str, env: Mapping[str, str], *, ours: bool = True, name: str = KEY) -> Secret | None:
    """The key for the OpenAI-like server at `url`: $GGSHIP_API_KEY, or the file that $GGSHIP_API_KEY_FILE names.

    name: another variable in place of the first.

    OpenAI's own server is sent $OPENAI_API_KEY without them, and no other is. ours: whether the first two are for this
    server. Raises UsageError for a key that cannot be read, or that plain http would carry through a public network.
    """
    key = read_secret(name, env) if ours else None
    if key is None:
        return read_secret(OPENAI_KEY, env) if _origin(urlsplit(url)) == _OPENAI else None
    if not may_travel(url):
        raise UsageError(
            f"plain http would send {name} through a public network",
            where=url,
            hint=f"use https, or unset {name} if that server needs no key",
        )
    return key


def _split(url: str) -> SplitResult | None:
    """The parts of an address whose port is one; None where it is no address."""
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _without_key(text: str) -> str:
    """What the user typed, without what stands before an @."""
    scheme, separator, rest = text.rpartition("://")
    return f"{scheme}{separator}{HIDDEN}@{rest.rpartition('@')[2]}" if "@" in rest else text


def _stuck(pieces: Sequence[str]) -> bool:
    """Whether the words end in so many equal tokens that Ollama drops the answer. Pieces of thoughts have no words."""
    tail = [piece.strip() for piece in [piece for piece in pieces if piece][-SAME_TOKENS_BEFORE_ABORT:]]
    return len(tail) == SAME_TOKENS_BEFORE_ABORT and len(set(tail)) == 1
