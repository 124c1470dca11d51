"""A pipeline of stages that can be killed anywhere and run again.

A stage names the key of its inputs, parameters and tool versions; what it made is written beside its place, renamed in,
and entered into a ledger with its sha256. Running again skips every stage whose key and outputs are still right, so a
second run does nothing and a run after a crash goes on where that one stopped, to the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ggship.digests import sha256_file, write_text
from ggship.errors import Busy, UsageError

Facts = Mapping[str, Any]
"""What a stage leaves for later ones: JSON values only."""

DOCUMENT = "ggship.json"


class Progress(Protocol):
    """Hears how a job of several steps goes on."""

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        """A step begins: `total` in `unit` ("bytes", or what is counted), None where it is not known."""
        ...

    def advance(self, amount: float = 1, total: float | None = None) -> None:
        """So much more of the step is done."""
        ...

    def done(self, outcome: str = "") -> None:
        """The step ended."""
        ...


class Silent:
    """A Progress that says nothing."""

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        """Say nothing."""

    def advance(self, amount: float = 1, total: float | None = None) -> None:
        """Say nothing."""

    def done(self, outcome: str = "") -> None:
        """Say nothing."""


class Stage(Protocol):
    """One step of the pipeline.

    Laws: equal keys mean equal outputs, byte for byte; run() writes only its outputs, each renamed into `work` whole.
    """

    name: str
    title: str
    outputs: tuple[str, ...]

    def key(self, facts: Mapping[str, Facts]) -> str:
        """sha256 over inputs, parameters and tool versions. `facts` holds those of every earlier stage."""
        ...

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Make the outputs in `work` (earlier stages' outputs lie there too) and return what later stages need."""
        ...

    def check(self, done: Facts) -> bool:
        """Whether what this stage did outside the folder, on a server, is still there."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the pipeline did: the facts of every stage, and the names of the stages that really ran."""

    facts: Mapping[str, Facts]
    ran: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a package is made and where it ends.

    final: the package's folder. Beside it, `.NAME.ggship/` holds the ledger, the lock and the package while it is made;
    `NAME.held/` is a package that was made but failed its proof.
    """

    final: Path

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
        if self.final.is_dir() and any(self.final.iterdir()) and not (self.final / DOCUMENT).is_file():
            raise UsageError(
                "the output folder holds something that is not a package of ggship",
                where=str(self.final),
                hint="name another folder with --out",
            )
        self.work.mkdir(parents=True, exist_ok=True)
        old = self.root / "old"
        if old.is_dir():
            if self.final.exists():
                shutil.rmtree(old)
            else:
                old.rename(self.final)
        for partial in self.work.rglob("*.partial"):
            partial.unlink()

    def settle(self, target: Path) -> None:
        """Rename the finished package to `target`, in place of what was there."""
        old = self.root / "old"
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
        return (self.work, self.final, self.held)


@dataclass(slots=True)
class _Ledger:
    path: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Ledger:
        try:
            loaded = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            loaded = {}
        return cls(path, loaded if isinstance(loaded, dict) else {})

    def enter(self, stage: Stage, key: str, facts: Facts, work: Path) -> None:
        outputs = {}
        for name in stage.outputs:
            stat = (work / name).stat()
            outputs[name] = [sha256_file(work / name), stat.st_size, stat.st_mtime_ns]
        self.entries[stage.name] = {"key": key, "outputs": outputs, "facts": dict(facts)}
        write_text(self.path, json.dumps(self.entries, ensure_ascii=False, indent=1))


def run_stages(
    stages: Sequence[Stage],
    place: Place,
    progress: Progress,
    *,
    on_stage: Callable[[str], None] | None = None,
) -> Outcome:
    """Run what is not done yet. `on_stage` hears the name of each stage that ran, right after it was entered.

    The caller holds the lock (see `holding`) and has called `place.prepare()`.
    """
    ledger = _Ledger.read(place.root / "ledger.json")
    facts: dict[str, Facts] = {}
    ran: list[str] = []
    kept: list[Mapping[str, Path]] = []
    for stage in stages:
        key = stage.key(facts)
        entry = ledger.entries.get(stage.name)
        found = _locate(entry["outputs"], place) if entry and entry["key"] == key else None
        if entry and found is not None and stage.check(entry["facts"]):
            kept.append(found)
            facts[stage.name] = entry["facts"]
            if ran:
                _bring(found, place.work)
            continue
        for earlier in kept:
            _bring(earlier, place.work)
        facts[stage.name] = stage.run(place.work, facts, progress)
        ledger.enter(stage, key, facts[stage.name], place.work)
        ran.append(stage.name)
        if on_stage:
            on_stage(stage.name)
    if not ran and any(place.final not in path.parents for found in kept for path in found.values()):
        # A crash came after the last stage and before the rename: bring all together, so that settle() can end it.
        for found in kept:
            _bring(found, place.work)
        ran.append("settle")
    return Outcome(facts, tuple(ran))


def _locate(outputs: Mapping[str, Sequence[Any]], place: Place) -> Mapping[str, Path] | None:
    """Where each output lies unchanged; None where one is missing or has changed."""
    found = {}
    for name, (digest, size, mtime_ns) in outputs.items():
        for home in place.homes():
            path = home / name
            try:
                stat = path.stat()
            except OSError:
                continue
            if stat.st_size == size and (stat.st_mtime_ns == mtime_ns or sha256_file(path) == digest):
                found[name] = path
                break
        else:
            return None
    return found


def _bring(found: Mapping[str, Path], work: Path) -> None:
    """Put outputs of an earlier run into the folder being made, by hard link where the disk allows it.

    Safe because no stage ever writes into an existing file.
    """
    for name, path in found.items():
        target = work / name
        if path == target:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        link_or_copy(path, target)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second place: a hard link on the same disk, else a copy with the same times."""
    try:
        os.link(source, target)
    except OSError:
        partial = target.with_name(f"{target.name}.partial")
        shutil.copy2(source, partial)
        partial.replace(target)


@contextmanager
def holding(place: Place, *, on_wait: Callable[[str], None] | None = None, wait_seconds: float = -1) -> Iterator[None]:
    """Hold the package's lock. Another ggship that holds it is waited for (`wait_seconds`; -1 means until it ends).

    `on_wait` hears, once, who holds it. Raises Busy when the time is over. The lock ends with its process, however.
    """
    import filelock

    place.root.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(place.root / "lock")
    holder = place.root / "holder.json"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        words = f"another ggship{_holder(holder)} is at work on {place.final}"
        if on_wait:
            on_wait(words)
        try:
            lock.acquire(timeout=wait_seconds)
        except filelock.Timeout as error:
            raise Busy(words, hint="run the same command again when it has ended") from error
    try:
        write_text(holder, json.dumps({"pid": os.getpid()}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        return f" (process {json.loads(path.read_text('utf-8'))['pid']})"
    except (OSError, ValueError, KeyError):
        return ""
