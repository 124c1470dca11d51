"""Where a package is made and where it ends: looked at before any work, and never in place of something else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ggship.errors import UsageError
from ggship.locks import locked

DOCUMENT = "ggship.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a package is made and where it ends.

    final: the package's folder. Beside it, `.NAME.ggship/` holds the ledger, the lock and the package while it is made;
    `NAME.held/` is a package that was made but failed its proof. others: packages whose files may be taken over.
    """

    final: Path
    others: tuple[Path, ...] = ()

    @property
    def root(self) -> Path:
        """The hidden folder beside the package."""
        return self.final.with_name(f".{self.final.name}.ggship")

    @property
    def work(self) -> Path:
        """The package while it is made."""
        return self.root / "package"

    @property
    def held(self) -> Path:
        """A package that was made but failed its proof."""
        return self.final.with_name(f"{self.final.name}.held")

    def prepare(self) -> None:
        """Make the folders, and mend what a crash between two renames left."""
        for folder in (self.final, self.held):
            _refuse_foreign(folder)
        self.work.mkdir(parents=True, exist_ok=True)
        for target in (self.final, self.held):
            old = self._old(target)
            if old.is_dir():
                if target.exists():
                    shutil.rmtree(old)
                else:
                    old.rename(target)

    def settle(self, target: Path) -> None:
        """Rename the finished package to `target`, in place of what was there."""
        old = self._old(target)
        if target.exists():
            target.rename(old)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.work.rename(target)
        if old.is_dir():
            shutil.rmtree(old)
        if target == self.final and self.held.is_dir():
            shutil.rmtree(self.held)

    def homes(self) -> tuple[Path, ...]:
        """Where an output of an earlier run can lie."""
        return (self.work, self.final, self.held, *self.others)

    def _old(self, target: Path) -> Path:
        """What was at `target` while it is replaced. Never one place for both: a failed package would become final."""
        return self.root / ("old" if target == self.final else "old-held")


def package_place(folder: Path, name: str) -> Place:
    """The place of the package of that name in `folder`. Changes nothing.

    A link to a folder means the folder. Raises UsageError, before any work, where no package can end there: a file, a
    mount point, the folder one stands in, one that holds something else, or another model's package.
    """
    final = folder.resolve() if folder.is_symlink() or folder.name in ("", "..") else folder
    real = final.resolve()
    if Path.cwd().is_relative_to(real):
        raise UsageError(
            "the package's folder is replaced as a whole, so it cannot be the one you stand in, or one above it",
            where=f"--out {folder} is {real}",
            hint=f"name a folder of its own: --out {name_for(name)}",
        )
    blocking = next((path for path in (real, *real.parents) if path.exists() or path.is_symlink()), real)
    if not blocking.is_dir():
        raise UsageError("a file is in the place of the output folder", where=str(blocking), hint=_elsewhere(name))
    if os.path.ismount(real):
        raise UsageError(
            "the output folder is a mount point, which nothing can be renamed onto",
            where=str(real),
            hint=f"name a folder inside it: --out {folder / name_for(name)}",
        )
    place = Place(final)
    for path in (place.final, place.held):
        _refuse_foreign(path)
        _refuse_other(path, name)
    return place


def name_for(name: str) -> str:
    """The model's name as a folder's: without what no file name should hold."""
    return name.replace("/", "-").replace(":", "-")


@contextmanager
def holding(place: Place, *, on_wait: Callable[[str], None] | None = None, wait_seconds: float = -1) -> Iterator[None]:
    """Hold the package's lock; who comes second waits, as `locked` says. Raises Busy when the time is over."""
    with locked(place.root, str(place.final), on_wait=on_wait, wait_seconds=wait_seconds):
        yield


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / DOCUMENT).is_file():
        raise UsageError(
            "the output folder holds something that is not a package of ggship",
            where=str(folder),
            hint="name another folder with --out",
        )
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError("the output folder is none", where=str(folder), hint="name another folder with --out")


def _refuse_other(folder: Path, name: str) -> None:
    """`ns/law` and `ns-law` have one folder by default: the second must not take the place of the first."""
    try:
        document = json.loads((folder / DOCUMENT).read_text("utf-8"))
        there = str(document["name"])
    except (OSError, ValueError, TypeError, KeyError):
        return  # damaged: made again
    if there.removesuffix(":latest") != name.removesuffix(":latest"):
        raise UsageError(f"that folder is the package of {there}", where=str(folder), hint=_elsewhere(name))


def _elsewhere(name: str) -> str:
    return f"name another folder: --out dist/{name_for(name)}-package"
