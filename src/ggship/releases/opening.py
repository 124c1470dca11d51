"""Which release a name means: a package's, where it is live, or one that only its journal or a server knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ggship.errors import UnknownName, UsageError
from ggship.releases.history import History, read_history
from ggship.releases.journal import Journal, journals_of
from ggship.releases.names import load_package
from ggship.releases.releasing import journal_of
from ggship.releases.turns import own_turn
from ggship.runtimes.find import find_runtime
from ggship.runtimes.model import Runtime
from ggship.runtimes.names import check_model_name, full_name


@dataclass(frozen=True, slots=True)
class OpenRelease:
    """A public name on a server that answers. elsewhere: the journals of the same name on other servers."""

    public: str
    runtime: Runtime
    journal: Journal
    elsewhere: tuple[Journal, ...]

    def history(self) -> History:
        """The journal held against the server, now."""
        return read_history(self.runtime, self.journal)


@contextmanager
def open_release(
    name: str, *, host: str | None = None, turn: bool = False, on_wait: Callable[[str], None] | None = None
) -> Iterator[OpenRelease]:
    """The release of that package, or of that public name. host: another server than the one it was made live on.

    turn: hold the name's turn meanwhile, so that nothing else changes it; needed for whatever changes something.
    Raises UnknownName where no package, no journal and no model of the server has that name.
    """
    public, server = _named(name)
    known = journals_of(public)
    if not (host or server) and len(known) == 1:
        server = known[0].server
    runtime = find_runtime("ollama", host or server)
    try:
        journal = journal_of(runtime, public)
        if not journal.acts() and runtime.digest(public) is None:
            raise UnknownName(
                f"nothing was released as {public} on {runtime.describe()}",
                where="\n".join(f"it was on {other.server}" for other in known),
                hint="name the server with --host" if known else f"ggship package RUN --name {name}",
            )
        elsewhere = tuple(other for other in known if other.server != journal.server)
        opened = OpenRelease(public, runtime, journal, elsewhere)
        if not turn:
            yield opened
            return
        with own_turn(runtime, public, on_wait=on_wait):
            yield opened
    finally:
        runtime.close()


def _named(name: str) -> tuple[str, str | None]:
    """The public name, and the server of its package."""
    try:
        info = load_package(name)
    except UnknownName:
        check_model_name(name)
        return full_name(name).removesuffix(":latest"), None
    if info.runtime != "ollama":
        what = "runs embedded" if info.runtime == "embedded" else "was made for no server"
        raise UsageError(
            f"{info.name} {what}, so nothing of it is live anywhere",
            where=str(info.path),
            hint=f"ggship package RUN --name {info.name} --runtime ollama",
        )
    return info.live_name, info.host
