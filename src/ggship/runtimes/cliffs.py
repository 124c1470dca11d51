"""Where Ollama changed what it can do: each cliff once, with its source."""

from __future__ import annotations

import re

Version = tuple[int, int, int]

# ollama/ollama#14969, released with 0.34.1: `adapters` in a create request is answered with HTTP 400. Models made
# before still run. The server's own refusal counts more than its version, which source builds report as 0.0.0.
ADAPTERS_REFUSED_SINCE: Version = (0, 34, 1)
ADAPTERS_REFUSAL = "LoRA adapters are no longer supported"

# From 0.30.0 until 0.34.0 a GGUF given through `files` was written anew (server/create.go, `llama-quantize COPY`), so
# that the stored digest is not the uploaded one.
FILES_REWRITTEN_SINCE: Version = (0, 30, 0)
FILES_KEPT_SINCE: Version = (0, 34, 1)

# 0.34.1: the same release refuses to quantize a GGUF at create.
QUANTIZE_REFUSAL = "create-time quantization is only supported for safetensors imports"

# A server (seen: 0.32.14) whose model says the same token more than 30 times running ends
# the stream with no last piece and no error (llm: "token repeat limit reached").
SAME_TOKENS_BEFORE_ABORT = 30

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


def parse_version(text: str) -> Version | None:
    """(0, 34, 1) of "0.34.1", "v0.34.1-rc2" and "0.34.1+build"; None of 0.0.0, which builds from source report."""
    match = _VERSION.match(text.strip())
    if match is None:
        return None
    version = (int(match[1]), int(match[2]), int(match[3]))
    return None if version == (0, 0, 0) else version


def accepts_adapters(version: str) -> bool | None:
    """Whether a server of that version makes models with adapters; None where the version does not tell."""
    known = parse_version(version)
    return None if known is None else known < ADAPTERS_REFUSED_SINCE


def refuses_adapters(error: str) -> bool:
    """Whether a server's error says that it takes no adapters."""
    return ADAPTERS_REFUSAL.lower() in error.lower()


def keeps_files(version: str) -> bool | None:
    """Whether a GGUF given through `files` is stored byte for byte; None where the version does not tell."""
    known = parse_version(version)
    return None if known is None else not FILES_REWRITTEN_SINCE <= known < FILES_KEPT_SINCE
