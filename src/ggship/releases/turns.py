"""One job at a time on a model name of a server: its tags share one staging name and one name for the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from ggship.digests import digest_of
from ggship.locks import locked
from ggship.releases.promotion import bare_name
from ggship.runtimes.model import Runtime
from ggship.settings import state_dir
from ggship.transport import is_loopback


@contextmanager
def own_turn(runtime: Runtime | None, name: str, *, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the model name, all tags of it, on the server of that runtime; who comes second waits, as `locked` says.

    Law: while it is held, no other ggship of this user makes or deletes the name's staging or base model there. The
    embedded runtime is nobody else's, so nothing is held for it.
    """
    server = server_of(runtime)
    if not server:
        yield
        return
    model = bare_name(name).casefold()  # Ollama finds law as Law
    folder = f"{quote(model, safe='')[:100]}-{digest_of({'server': server, 'model': model})[:16]}"
    with locked(state_dir() / "turns" / folder, f"{model} at {server}", on_wait=on_wait):
        yield


def server_of(runtime: Runtime | None) -> str:
    """The server's address, the same for all names of this machine; "" where there is none."""
    url = str(getattr(getattr(runtime, "client", None), "url", ""))
    if not is_loopback(url):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://localhost:{parts.port}"
