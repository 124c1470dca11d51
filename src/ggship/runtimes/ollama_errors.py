"""What a refusal of an Ollama server means, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ggship.errors import AdaptersRefused, GgshipError, ServerError
from ggship.runtimes.cliffs import QUANTIZE_REFUSAL, refuses_adapters
from ggship.transport import Reply

_WHERE_LIMIT = 600


def error_text(body: str) -> str:
    """The `error` of an answer ({"error": "..."}, or OpenAI's {"error": {"message": ...}}), else the body itself."""
    try:
        value = json.loads(body)
    except ValueError:
        return body.strip()
    error: Any = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return str(error) if error else body.strip()


def refusal(reply: Reply, url: str, action: str) -> GgshipError:
    """The error for an answer that is no success. `action` completes "Ollama could not"."""
    text = error_text(reply.text())
    if reply.status == 403 and not text:
        return ServerError(
            f"{url} answers 403 with no word of explanation",
            where="a server on loopback refuses requests that name it otherwise (Ollama's Host check)",
            hint="reach it as 127.0.0.1 or localhost, or start it with OLLAMA_HOST=0.0.0.0",
            status=403,
        )
    error = explain(text or f"HTTP {reply.status} with an empty body", url, action, reply.status)
    if isinstance(error, ServerError):
        error.retry_after = retry_after(reply.headers)
    return error


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a reply's Retry-After asks to wait, whether it names them or a date (RFC 9110, 10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, (date - (now or datetime.now(date.tzinfo))).total_seconds())


def explain(text: str, url: str, action: str, status: int | None = None) -> GgshipError:
    """The error for a server's words, wherever in an answer they came."""
    if refuses_adapters(text):
        return AdaptersRefused(
            "this Ollama takes no adapters (since 0.34.1)",
            where=f"{url}: {text}",
            hint="--strategy merge puts the adapter into the base; that is what --strategy auto does here",
        )
    return ServerError(
        f"Ollama could not {action}", where=f"{url}: {text[:_WHERE_LIMIT]}", hint=_hint(text, status), status=status
    )


def _hint(text: str, status: int | None) -> str:
    low = text.lower()
    if "process has terminated" in low or "failed to load" in low or "loras are not yet implemented" in low:
        return (
            "the model does not load: most often an adapter made for another base, or too little memory. "
            "The reason is in the server's own log (journalctl -u ollama, or ~/.ollama/logs/server.log)"
        )
    if "more system memory" in low:
        return "the server has too little free memory: stop other models (ollama stop NAME), or take a smaller base"
    if "binary not found" in low or "llama-quantize unavailable" in low:
        return "that Ollama is not installed whole (lib/ollama is missing beside it): install it again"
    if QUANTIZE_REFUSAL in text:
        return "ggship quantizes before it uploads: --quant TYPE"
    if "no space left" in low:
        return "the server's disk is full: free some, or move OLLAMA_MODELS"
    if "digest mismatch" in low:
        return "the file changed while it was sent, or the connection garbled it: run the same command again"
    if "unauthorized" in low or "access denied" in low or "not authorized" in low:
        return (
            "register the server's key (~/.ollama/id_ed25519.pub) with the registry, and push under your own namespace"
        )
    if status == 404:
        return "`ollama list` shows what the server holds"
    if status == 503 or "server busy" in low:
        return "the server is busy: try again in a moment"
    if status is not None and status >= 500:
        return "the server's own log says more; `ggship doctor` checks the rest"
    return ""
