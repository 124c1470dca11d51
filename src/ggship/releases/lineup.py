"""Models named on the command line, ready to be compared: packages, runs, models of a server, addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ggship.errors import UnknownName
from ggship.evals.contest import Contender, Entered
from ggship.package import PackageInfo
from ggship.progress import Progress
from ggship.releases.names import load_package
from ggship.releases.opened import open_other, open_package
from ggship.runtimes.model import Endpoint

BASE = "base"
"""As a baseline: the base of the first package that is compared."""
RUN = "hf:"


@dataclass(frozen=True, slots=True)
class Means:
    """What opening a model takes beside its name. host: the Ollama server that the user named; without it a package is
    asked where it is live, and a plain name where the first package is. base, allow_pickle: for hf:RUN.
    """

    host: str | None = None
    base: str | None = None
    allow_pickle: bool = False
    progress: Progress | None = None
    on_warning: Callable[[str], None] | None = None
    on_wait: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Lineup:
    """Who is compared with whom. suite: that of the first package that brings one; of: the package's name."""

    baseline: Contender
    others: tuple[Contender, ...]
    suite: Path | None = None
    of: str = ""


def line_up(names: Sequence[str], means: Means, *, baseline: str | None = None) -> Lineup:
    """What the names mean; the baseline is the first of them, or another that is named.

    A package is called by its own name, or as it was typed where two have the same. What a server holds is looked for
    now, since a slip in the last name is better found before the first model is asked. Raises UnknownName, ServerError
    or UsageError where one is not there, and what reading a run raises.
    """
    leader = baseline or names[0]
    rest = [name for name in names if name != leader] if baseline else list(names[1:])
    infos = {name: _package(name) for name in dict.fromkeys((*names, leader)) if name != BASE}
    packages = [info for info in infos.values() if info is not None]
    called = {name: info.name if info else name for name, info in infos.items()}
    told = list(called.values())
    server = next((info.host for info in packages if info.host), None)

    def contender(name: str) -> Contender:
        info = infos[name]
        opening = partial(_run if name.startswith(RUN) else _other, name, server, means)
        if info is not None:
            opening = partial(_packaged, info, means)
        if info is None or info.runtime == "ollama":
            with opening(None):
                pass
        return Contender(called[name] if told.count(called[name]) == 1 else name, opening)

    brought = next(((info.name, file) for info in packages if (file := info.file("eval/suite.yaml"))), ("", None))
    if leader == BASE and not packages:
        raise UnknownName(
            "none of these models is a package, so there is no base to compare them with",
            hint="name the model that stands for it: --baseline NAME",
        )
    first = Contender(BASE, partial(_base, packages[0], means)) if leader == BASE else contender(leader)
    return Lineup(first, tuple(contender(name) for name in rest), brought[1], brought[0])


def _package(name: str) -> PackageInfo | None:
    """The package of that name; None where the name is a server's, a run's or an address."""
    if "#" in name or name.startswith(RUN):
        return None
    try:
        return load_package(name)
    except UnknownName:
        return None  # a model of the server, perhaps: `open_other` tells


def _tokens(info: PackageInfo) -> tuple[str, ...]:
    return tuple(info.document["prompt"].get("special_tokens", ()))


@contextmanager
def _other(name: str, server: str | None, means: Means, beside: Endpoint | None) -> Iterator[Entered]:
    with open_other(name, host=means.host, fallback=server, beside=beside) as endpoint:
        yield Entered(endpoint)


@contextmanager
def _run(name: str, server: str | None, means: Means, beside: Endpoint | None) -> Iterator[Entered]:
    from ggship.reference.unpackaged import open_run

    with open_run(
        name,
        base=means.base,
        host=means.host or server,
        allow_pickle=means.allow_pickle,
        beside=beside,
        progress=means.progress,
    ) as run:
        yield Entered(run.tuned, run.special_tokens)


@contextmanager
def _packaged(info: PackageInfo, means: Means, beside: Endpoint | None) -> Iterator[Entered]:
    with open_package(info, host=means.host, with_base=False) as opened:
        if means.on_warning and beside is not None:
            for warning in opened.warnings:
                means.on_warning(warning)
        yield Entered(opened.tuned, _tokens(info))


@contextmanager
def _base(info: PackageInfo, means: Means, _: Endpoint | None) -> Iterator[Entered]:
    with open_package(info, host=means.host, progress=means.progress, on_wait=means.on_wait) as opened:
        if opened.base is None:
            raise UnknownName(opened.base_missing, hint="name the model to compare with: --baseline NAME")
        yield Entered(opened.base, _tokens(info))
