"""The names that this user's packages have: `ggship eval law-helper` works from any folder."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ggship.digests import write_text
from ggship.errors import UnknownName
from ggship.package import PackageInfo, read_package
from ggship.place import DOCUMENT
from ggship.settings import state_dir


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a name: where its package lies, and where its base and its run were found.

    Paths of this machine. run: the directory whose adapter was packaged, "" where that is not known.
    """

    name: str
    path: str
    base: str
    run: str = ""


def need_memory() -> None:
    """Raise the OSError that `remember` would meet, before any work is done in vain."""
    folder = state_dir() / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def remember(known: Known) -> None:
    """Remember a name, in place of what it meant before."""
    path = _file(known.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(known), ensure_ascii=False, indent=1))


def recall(name: str) -> Known | None:
    """What is remembered of a name."""
    try:
        fields = json.loads(_file(name).read_text("utf-8"))
        return Known(str(fields["name"]), str(fields["path"]), str(fields["base"]), str(fields.get("run", "")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def known_names() -> tuple[str, ...]:
    """Every name that is remembered, sorted."""
    names = []
    for path in sorted((state_dir() / "packages").glob("*.json")):
        try:
            names.append(str(json.loads(path.read_text("utf-8"))["name"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(names)


def find_package(name_or_path: str) -> Path:
    """The folder of a package, by its name or its path. Raises UnknownName with what is known instead."""
    path = Path(name_or_path)
    if (path / DOCUMENT).is_file():
        return path
    known = recall(name_or_path)
    if known and (Path(known.path) / DOCUMENT).is_file():
        return Path(known.path)
    if known:
        raise UnknownName(
            f"the package of {name_or_path} is no longer there",
            where=known.path,
            hint=f"ggship package RUN --name {name_or_path}",
        )
    names = known_names()
    from difflib import get_close_matches

    near = get_close_matches(name_or_path, names, n=1)
    raise UnknownName(
        f"no package is named {name_or_path}",
        where=f"known here: {', '.join(names)}" if names else "no package was made here yet",
        hint=f"did you mean {near[0]}?" if near else f"ggship package RUN --name {name_or_path}",
    )


def load_package(name_or_path: str) -> PackageInfo:
    """The package of that name or path, its document read and checked."""
    return read_package(find_package(name_or_path))


def _file(name: str) -> Path:
    return state_dir() / "packages" / f"{quote(name, safe='')}.json"
