"""The model behind a channel: canned, or really asked as One-API asks an Ollama."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Said:
    """An answer of the model behind a channel."""

    text: str
    model: str
    prompt_tokens: int = 33
    tokens: int = 9


class UpstreamFailed(Exception):
    """The model behind the channel gave no answer: `status` 0 where nothing answered at all."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


OPENAI = 1  # the channel type that passes the body on as it came
Canned = Mapping[str, Callable[[str], Said]]


def ask_upstream(canned: Canned, channel: dict[str, Any], body: dict[str, Any]) -> Said:
    """The answer of the channel's model. Raises UpstreamFailed where there is none."""
    base = channel["base_url"] or "http://localhost:11434"
    if base in canned:
        return canned[base](body["model"])
    openai = channel["type"] == OPENAI
    url = f"{base}/v1/chat/completions" if openai else f"{base}/api/chat"
    sent = json.dumps({**body, "stream": False}).encode()
    request = urllib.request.Request(url, sent, {"Authorization": f"Bearer {channel['key']}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=300) as reply:
            said = json.load(reply)
    except urllib.error.HTTPError as error:
        raise UpstreamFailed(error.reason, error.code) from error
    except urllib.error.URLError as error:
        words = "connect: connection refused" if isinstance(error.reason, ConnectionRefusedError) else str(error.reason)
        message = f'do request failed: Post "{url}": dial tcp {urlsplit(url).netloc}: {words}'
        raise UpstreamFailed(message) from error
    if openai:
        usage = said["usage"]
        words = said["choices"][0]["message"]["content"]
        return Said(words, said["model"], usage["prompt_tokens"], usage["completion_tokens"])
    counts = (said.get("prompt_eval_count", 0), said.get("eval_count", 0))
    return Said(said["message"]["content"], said.get("model", body["model"]), *counts)


def upstream_name(channel: dict[str, Any], model: str) -> str:
    """The model's name at the upstream."""
    mapping: dict[str, str] = json.loads(channel["model_mapping"] or "{}")
    return mapping.get(model) or model
