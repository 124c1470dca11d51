"""What an Ollama server holds, as the search for a base wants to see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ggship.errors import ServerError

if TYPE_CHECKING:
    from ggship.runtimes.model import Runtime
    from ggship.runtimes.ollama import OllamaRuntime


@dataclass(frozen=True, slots=True)
class Holding:
    """The models of one server: a `ggship.bases.OllamaLister`."""

    runtime: OllamaRuntime

    def tags(self) -> Sequence[str]:
        """Names of the models that it holds."""
        return [str(model["name"]) for model in self.runtime.client.tags()]

    def show(self, name: str, *, verbose: bool = False) -> Mapping[str, Any]:
        """/api/show as it is."""
        return self.runtime.client.show(name, verbose=verbose)

    def is_local(self) -> bool:
        """Whether its files are files of this machine."""
        return self.runtime.is_local()


def holding_of(runtime: Runtime | None) -> Holding | None:
    """What that runtime holds, where it is an Ollama server."""
    from ggship.runtimes.ollama import OllamaRuntime

    return Holding(runtime) if isinstance(runtime, OllamaRuntime) else None


def holding_for(ref: str | None, host: str | None = None) -> Holding | None:
    """What the Ollama server holds, for a command that needs no server but may find its base on one.

    A server that does not answer is an error only where `ref` or `host` asks for it.
    """
    if ref and not ref.startswith("ollama:"):
        return None
    from ggship.runtimes.find import find_runtime

    try:
        return holding_of(find_runtime("ollama", host))
    except ServerError:
        if host or (ref or "").startswith("ollama:"):
            raise
        return None
