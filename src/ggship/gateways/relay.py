"""Asking through a gateway as its clients do: one short question, whole or streamed, in the OpenAI dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ggship.errors import ServerError
from ggship.gateways.gateway import ASK, Said
from ggship.gateways.secrets import KEY, Secret
from ggship.transport import Reply, Transport

_PATH = "/v1/chat/completions"
_DEPLOYMENT = "x-litellm-model-id"


class Relay:
    """The OpenAI side of a gateway. hide: takes the secrets out of a text that came from there."""

    def __init__(self, transport: Transport, key: Secret, hide: Callable[[str], str]) -> None:
        self._transport = transport
        self._key = key
        self._hide = hide

    def ask(self, model: str, *, prefix: str = "", pin: str = "", stream: bool = False, tokens: int) -> Said:
        """Ask for that model. prefix, pin: what stands before and behind the key. tokens: the longest answer."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": ASK}],
            "temperature": 0,
            "max_tokens": tokens,
        }
        headers = {"Authorization": f"Bearer {prefix}{self._key.reveal()}{pin}"}
        if not stream:
            return self._checked(said(self._transport.request("POST", _PATH, json=body, headers=headers)))
        with self._transport.stream("POST", _PATH, json={**body, "stream": True}, headers=headers) as (reply, lines):
            return self._checked(said(reply) if not reply.ok else _streamed(reply, lines))

    def _checked(self, answer: Said) -> Said:
        if answer.status in (301, 302, 303, 307, 308):
            raise ServerError(
                "the gateway sends us elsewhere, and a key is not carried along",
                where=f"POST {self._transport.base_url}{_PATH}: HTTP {answer.status}",
                hint="pass the address it leads to with --url",
                status=answer.status,
            )
        problem = self._hide(answer.problem)
        if answer.status == 401:
            raise ServerError(
                "the gateway does not know the client key",
                where=f"POST {self._transport.base_url}{_PATH}: {problem}",
                hint=f"{KEY} is a key as clients have it (sk-...), not the access token",
                status=401,
            )
        return Said(
            answer.status,
            self._hide(answer.text),
            answer.model,
            problem,
            answer.deployment,
            answer.ended,
            no_route=_no_route(answer.status, problem),
            cannot_pin=answer.status == 403 and "指定渠道" in problem,
        )


def no_key() -> ServerError:
    """There is no key to ask with."""
    return ServerError("no client key to ask with", hint=f"export {KEY}=... or {KEY}_FILE=FILE")


def _no_route(status: int, problem: str) -> bool:
    """Whether the gateway itself has no channel for the model, or the one that was asked for is off.

    By its words too: a busy upstream's 503 comes through with the same status. One-API and new-api:
    middleware/distributor.go. LiteLLM 1.106: "Model is blocked", "Invalid model name passed in", and its router's "no
    healthy deployments" (router.py).
    """
    if status == 503:
        return "无可用渠道" in problem or "no available channel" in problem.lower()
    if status == 403:
        return "禁用" in problem or "model is blocked" in problem.lower()
    return status in (400, 404, 429) and any(
        words in problem.lower()
        for words in ("invalid model name", "no healthy deployment", "no deployments available")
    )


def said(reply: Reply) -> Said:
    """The whole answer, read."""
    deployment = reply.headers.get(_DEPLOYMENT, "")
    if 300 <= reply.status < 400:
        return Said(reply.status)
    try:
        document = reply.json()
    except ServerError:
        return Said(reply.status, problem="the answer is not JSON")
    if not isinstance(document, dict):
        return Said(reply.status, problem="the answer is no JSON object")
    error = document.get("error")
    if error:
        words = str(error.get("message") or error.get("code") or "") if isinstance(error, dict) else str(error)
        return Said(reply.status, problem=words or f"HTTP {reply.status}", deployment=deployment)
    try:
        text = document["choices"][0]["message"]["content"] or ""
    except (KeyError, IndexError, TypeError):
        return Said(reply.status, problem="the answer holds no message")
    problem = "" if str(text).strip() else "the answer is empty"
    return Said(reply.status, str(text), str(document.get("model") or ""), problem, deployment)


def _streamed(reply: Reply, lines: Iterator[str]) -> Said:
    """The pieces of a stream, put together; a stream without its end marker broke off."""
    pieces: list[str] = []
    model, problem, ended = "", "", False
    for line in lines:
        data = line.strip().removeprefix("data:").strip()
        if not line.startswith("data:") or not data:
            continue
        if data == "[DONE]":
            ended = True
            break
        try:
            chunk: dict[str, Any] = json.loads(data)
            if chunk.get("error"):
                problem = str(chunk["error"].get("message") or "an error inside the stream")
                break
            model = str(chunk.get("model") or model)
            choices = chunk.get("choices") or []
            pieces.extend(str((choice.get("delta") or {}).get("content") or "") for choice in choices)
        except (ValueError, AttributeError):
            problem = "a line of the stream is not JSON"
            break
    text = "".join(pieces)
    if not problem and not ended:
        problem = "the stream broke off before its end"
    elif not problem and not text.strip():
        problem = "the answer is empty"
    return Said(reply.status, text, model, problem, reply.headers.get(_DEPLOYMENT, ""), ended)
