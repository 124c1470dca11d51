"""What ggship knows of one trainer: the marks it leaves, and how to read what it wrote down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.training import RecordedPrompt, Setting

_PATH = re.compile(r"[\\/]")


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that speaks for a trainer. sure: nothing else leaves it."""

    text: str
    sure: bool = True


def _no_version(_: Evidence) -> str:
    return ""


def _nothing(_: Evidence) -> tuple[()]:
    return ()


@dataclass(frozen=True, slots=True)
class Reader:
    """One trainer. Its functions take the evidence and raise nothing: a file that cannot be read proves nothing.

    settings: groups of settings, the most trustworthy first. uses: trainers that it may have worked through, whose
    marks do not speak against it.
    """

    name: str
    marks: Callable[[Evidence], Iterable[Mark]]
    version: Callable[[Evidence], str] = _no_version
    settings: Callable[[Evidence], Iterable[Iterable[Setting]]] = _nothing
    prompts: Callable[[Evidence], Iterable[RecordedPrompt]] = _nothing
    uses: frozenset[str] = frozenset()


def short(value: object) -> str:
    """A version or name as someone else wrote it, or "": on one line, short, and no path."""
    named = isinstance(value, str) and len(value) <= 60 and value.isprintable() and not _PATH.search(value)
    return str(value) if named else ""
