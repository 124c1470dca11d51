"""Assertions of the user's own: Python modules that the command line names, and a suite never can.

A plugin is a module that registers functions as ggship's own are:

    from ggship.evals.assertions import Judgement, Subject, assertion

    @assertion("cites-law", "none", "names a paragraph")
    def cites_law(subject: Subject) -> Judgement:
        return Judgement("§" in subject.text, float("§" in subject.text), "looked for §")
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from ggship.errors import GgshipError, ToolFailed, UsageError
from ggship.evals.assertions import REGISTRY
from ggship.evals.assertions.registry import Check, Judgement, Kind, Subject
from ggship.evals.report import Instrument


def load_plugins(names: Iterable[str]) -> tuple[Instrument, ...]:
    """Run these modules (dotted names, or paths of .py files), and say which they were, by the sha256 of their source.

    UsageError where one is not there, fails, registers nothing, or takes the name of another assertion.
    """
    return tuple(_load(name) for name in names)


def _load(name: str) -> Instrument:
    before = dict(REGISTRY)
    module = _import(name)
    own = {
        type_: kind
        for type_, kind in REGISTRY.items()
        if kind.check.__module__ == module.__name__ or before.get(type_) is not kind
    }
    if not own:
        raise UsageError("the plugin registers no assertion", where=name, hint="put @assertion(...) over its functions")
    taken = [type_ for type_ in own if type_ in before and before[type_] is not REGISTRY[type_]]
    if taken:
        REGISTRY.update({type_: before[type_] for type_ in taken})
        raise UsageError(f"the plugin takes the name of another assertion: {', '.join(taken)}", where=name)
    for type_, kind in own.items():
        if not isinstance(kind.check, _Guarded):
            REGISTRY[type_] = replace(kind, check=_Guarded(kind.check, kind, name))
    source = Path(module.__file__) if module.__file__ else None
    digest = "sha256:" + hashlib.sha256(source.read_bytes()).hexdigest() if source and source.is_file() else None
    return Instrument("plugins", module.__name__, digest)


def _import(name: str) -> ModuleType:
    path = Path(name)
    try:
        if path.suffix != ".py":
            return importlib.import_module(name)
        if not path.is_file():
            raise UsageError("there is no such plugin", where=name)
        return _run_file(path.resolve())
    except GgshipError:
        raise
    except ModuleNotFoundError as error:
        hint = "a name that Python can import, or the path of a .py file"
        raise UsageError(f"the plugin cannot be imported: {error}", where=name, hint=hint) from error
    except Exception as error:
        raise UsageError(f"the plugin fails: {type(error).__name__}: {error}", where=name) from error


@functools.cache
def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError("this is no Python module", where=str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Guarded:
    """A check of a plugin: its result may be a truth or a score, and its failure is an error of the case."""

    def __init__(self, check: Check, kind: Kind, plugin: str) -> None:
        self._check, self._kind, self._plugin = check, kind, plugin
        self.__module__ = check.__module__

    def __call__(self, subject: Subject) -> Judgement:
        try:
            found: object = self._check(subject)
        except GgshipError:
            raise
        except Exception as error:
            raise ToolFailed(
                f"the plugin fails: {type(error).__name__}: {error}", where=f"{self._plugin}, {self._kind.name}"
            ) from error
        if isinstance(found, bool):
            return Judgement(found, float(found), "holds" if found else "does not hold")
        if isinstance(found, int | float) and 0 <= found <= 1:
            return Judgement(found >= subject.threshold, float(found), f"{found:.3f}, {subject.threshold:g} wanted")
        if isinstance(found, Judgement) and 0 <= found.score <= 1:
            return found
        raise ToolFailed(
            "the plugin gives neither a Judgement, nor True or False, nor a score from 0 to 1",
            where=f"{self._plugin}, {self._kind.name}: {found!r}"[:200],
        )
