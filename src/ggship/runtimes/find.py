"""Which runtime there is: the Ollama that answers, else llama.cpp embedded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ggship.errors import NoRuntime, ServerError, ServerUnreachable, UsageError
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
    """The runtime to use. A named server where nothing answers is an error, but for $OLLAMA_HOST with `auto`.

    kind: "ollama", "embedded", or "auto": the Ollama at `host`, $OLLAMA_HOST or 127.0.0.1:11434, else embedded (whose
    `note` then says which address was tried). Raises ServerUnreachable where a named server does not answer, NoRuntime
    where there is neither, MissingExtra where "embedded" is asked for and not installed.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no runtime of the kind {kind!r}", hint=f"one of {', '.join(KINDS)}")
    if kind == "embedded":
        from ggship.runtimes.embedded import EmbeddedRuntime

        return EmbeddedRuntime()
    asked, variable = (host or "").strip(), env.get("OLLAMA_HOST", "").strip()
    found = client(asked or variable or DEFAULT_HOST)
    try:
        found.version(read_seconds=PROBE_SECONDS)
    except ServerError as error:
        found.close()
        if (asked or variable) and not isinstance(error, ServerUnreachable):
            raise
        if kind == "auto" and not asked:
            from ggship.runtimes.embedded import EmbeddedRuntime, embedded_version

            if embedded_version():
                note = f"no Ollama answers at {found.url}, which OLLAMA_HOST names" if variable else ""
                return EmbeddedRuntime(note=note)
        raise _nothing(kind, found.url, asked, variable) from error
    return OllamaRuntime(found)


def _nothing(kind: str, url: str, asked: str, variable: str) -> ServerError:
    """The error for an Ollama that is not there, with what this kind of command can do without one."""
    embedded = "pip install 'ggship[embedded]'"
    if asked or variable:
        source = f"--host={asked}" if asked else f"OLLAMA_HOST={variable}"
        without = f", or do without: --runtime embedded ({embedded})" if kind == "auto" else ""
        return ServerUnreachable(
            f"no Ollama answers at {url}",
            where=f"that address comes from {source}",
            hint=f"start it with `ollama serve`, or name another with --host{without}",
        )
    if kind == "auto":
        return NoRuntime(
            "there is nothing here to run a model with",
            where=f"no Ollama answers at {url}, and xllamacpp is not installed",
            hint=f"start Ollama (`ollama serve`), or install the embedded runtime: {embedded}",
        )
    return NoRuntime(
        "no Ollama runs here",
        where=f"nothing answers at {url}",
        hint="start it (`ollama serve`), or name another with --host",
    )
