"""Which runtime there is: the Ollama that answers, else llama.cpp embedded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ggship.errors import NoRuntime, ServerError, ServerUnreachable, UsageError
from ggship.runtimes.embedded import EmbeddedRuntime, embedded_version
from ggship.runtimes.hosts import DEFAULT_HOST
from ggship.runtimes.model import Runtime
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient

KINDS = ("auto", "ollama", "embedded")
PROBE_SECONDS = 5.0


def find_runtime(
    kind: str = "auto",
    host: str | None = None,
    env: Mapping[str, str] = os.environ,
    *,
    client: Callable[[str], OllamaClient] = OllamaClient,
) -> Runtime:
    """The runtime to use. `host` and $OLLAMA_HOST are wishes: where nothing answers there, that is an error.

    kind: "ollama", "embedded", or "auto": the Ollama at `host`, $OLLAMA_HOST or 127.0.0.1:11434, else embedded.
    Raises ServerUnreachable where a named server does not answer, NoRuntime where there is neither, MissingExtra where
    "embedded" is asked for and not installed.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no runtime of the kind {kind!r}", hint=f"one of {', '.join(KINDS)}")
    if kind == "embedded":
        return EmbeddedRuntime()
    named = (host or "").strip() or env.get("OLLAMA_HOST", "").strip()
    found = client(named or DEFAULT_HOST)
    try:
        found.version(read_seconds=PROBE_SECONDS)
    except ServerError as error:
        found.close()
        if named and isinstance(error, ServerUnreachable):
            source = "--host" if (host or "").strip() else "OLLAMA_HOST"
            raise ServerUnreachable(
                f"no Ollama answers at {found.url}",
                where=f"that address comes from {source}={named}",
                hint="start it with `ollama serve`, name another with --host, or do without: --runtime embedded",
            ) from error
        if named:
            raise
        if kind == "auto" and embedded_version():
            return EmbeddedRuntime()
        raise NoRuntime(
            "there is nothing here to run a model with",
            where=f"no Ollama answers at {found.url}" + (", and xllamacpp is not installed" if kind == "auto" else ""),
            hint="start Ollama (`ollama serve`), or install the embedded runtime: pip install 'ggship[embedded]'",
        ) from error
    return OllamaRuntime(found)
