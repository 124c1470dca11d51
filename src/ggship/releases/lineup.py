"""Models named on the command line, ready to be compared: packages, models of a server, addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ggship.errors import UnknownName
from ggship.evals.contest import Contender
from ggship.package import PackageInfo
from ggship.progress import Progress
from ggship.releases.names import load_package
from ggship.releases.opened import open_other, open_package
from ggship.runtimes.model import Endpoint

BASE = "base"
"""As a baseline: the base of the first package that is compared."""


@dataclass(frozen=True, slots=True)
class Lineup:
    """Who is compared with whom. suite: that of the first package that brings one; of: the package's name."""

    baseline: Contender
    others: tuple[Contender, ...]
    suite: Path | None = None
    of: str = ""


def line_up(
    names: Sequence[str],
    *,
    baseline: str | None = None,
    host: str | None = None,
    progress: Progress | None = None,
    on_warning: Callable[[str], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Lineup:
    """What the names mean; the baseline is the first of them, or another that is named.

    A package is called by its own name, or as it was typed where two have the same.

    Every model that a server holds is looked for now, since a slip in the last name is better found before the first
    model is asked. Raises UnknownName, ServerError or UsageError where one is not there.
    """
    infos = {name: _package(name) for name in (*names, *([baseline] if baseline and baseline != BASE else []))}
    first = next(((name, info) for name, info in infos.items() if info is not None), None)
    called = {name: info.name if info else name for name, info in infos.items()}
    told = list(called.values())
    called = {name: known if told.count(known) == 1 else name for name, known in called.items()}
    server = next((info.host for info in infos.values() if info and info.host), None)

    def contender(name: str) -> Contender:
        info = infos[name]
        opening: Callable[[Endpoint | None], AbstractContextManager[Endpoint]]
        if info is None:
            opening = partial(_other, name, host=host, fallback=server)
        else:
            opening = partial(_packaged, info, host=host, on_warning=on_warning)
        if info is None or info.runtime == "ollama":
            with opening(None, on_warning=None) if info else opening(None):
                pass
        tokens = tuple(info.document["prompt"].get("special_tokens", ())) if info else ()
        return Contender(called[name], opening, tokens)

    if baseline == BASE:
        if first is None:
            raise UnknownName(
                "none of these models is a package, so there is no base to compare them with",
                hint="name the model that stands for it: --baseline NAME",
            )
        opening = partial(_base, first[1], host=host, progress=progress, on_wait=on_wait)
        leader, rest = Contender(BASE, opening), list(names)
    else:
        leader = contender(baseline or names[0])
        rest = [name for name in names if name != baseline] if baseline else list(names[1:])
    others = tuple(contender(name) for name in rest)
    brought = next(
        ((info.name, file) for info in infos.values() if info and (file := info.file("eval/suite.yaml"))), ("", None)
    )
    return Lineup(leader, others, brought[1], brought[0])


def _package(name: str) -> PackageInfo | None:
    """The package of that name; None where the name is a server's, or an address."""
    if "#" in name or name.startswith("hf:"):
        return None
    try:
        return load_package(name)
    except UnknownName:
        return None  # a model of the server, perhaps: `open_other` tells


@contextmanager
def _other(name: str, beside: Endpoint | None, *, host: str | None, fallback: str | None) -> Iterator[Endpoint]:
    with open_other(name, host=host, fallback=fallback, beside=beside) as endpoint:
        yield endpoint


@contextmanager
def _packaged(
    info: PackageInfo, _: Endpoint | None, *, host: str | None, on_warning: Callable[[str], None] | None
) -> Iterator[Endpoint]:
    with open_package(info, host=host, with_base=False) as opened:
        if on_warning:
            for warning in opened.warnings:
                on_warning(warning)
        yield opened.tuned


@contextmanager
def _base(
    info: PackageInfo,
    _: Endpoint | None,
    *,
    host: str | None,
    progress: Progress | None,
    on_wait: Callable[[str], None] | None,
) -> Iterator[Endpoint]:
    with open_package(info, host=host, progress=progress, on_wait=on_wait) as opened:
        if opened.base is None:
            raise UnknownName(opened.base_missing, hint="name the model to compare with: --baseline NAME")
        yield opened.base
