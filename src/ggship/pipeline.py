"""A pipeline of stages that can be killed anywhere and run again.

A stage names the key of its inputs, parameters and tool versions; what it made is written beside its place, renamed in,
and entered into a ledger with its sha256. Running again skips every stage whose key and outputs are still right, so a
second run does nothing and a run after a crash goes on where that one stopped, to the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ggship.digests import sha256_file, write_text
from ggship.place import Place
from ggship.progress import Progress

Facts = Mapping[str, Any]
"""What a stage leaves for later ones: JSON values only."""


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


def take_over(place: Place, other: Place, stages: Sequence[Stage]) -> Place:
    """The place, knowing what another job made for these stages: where keys are equal nothing of it is made again.

    The caller holds the locks of both.
    """
    known, made = _Ledger.read(place.root / "ledger.json"), _Ledger.read(other.root / "ledger.json")
    for stage in stages:
        entry, own = made.entries.get(stage.name), known.entries.get(stage.name)
        if entry is None:
            continue
        # Reports are rewritten where they lie (`enter_again`), and the package's checksums are of its own ones.
        same = own is not None and (own["key"], own["facts"]) == (entry["key"], entry["facts"])
        if own is None or not same or _locate(own["outputs"], place) is None:
            known.entries[stage.name] = entry
    write_text(known.path, json.dumps(known.entries, ensure_ascii=False, indent=1))
    return replace(place, others=(other.final,))


def run_stages(
    stages: Sequence[Stage],
    place: Place,
    progress: Progress,
    *,
    on_start: Callable[[str], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Outcome:
    """Run what is not done yet. `on_start` hears the name of each stage that is about to run, `on_stage` of each that
    ran, right after it was entered.

    The caller holds the lock (see `place.holding`) and has called `place.prepare()`. Law: the folder being made holds
    outputs of these stages and nothing else, whatever an earlier attempt left in it.
    """
    _keep_outputs(stages, place.work)
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
        if on_start:
            on_start(stage.name)
        facts[stage.name] = stage.run(place.work, facts, progress)
        ledger.enter(stage, key, facts[stage.name], place.work)
        ran.append(stage.name)
        _keep_outputs(stages, place.work)
        if on_stage:
            on_stage(stage.name)
    if not ran and any(place.final not in path.parents for found in kept for path in found.values()):
        # A crash came after the last stage and before the rename: bring all together, so that settle() can end it.
        for found in kept:
            _bring(found, place.work)
        ran.append("settle")
    return Outcome(facts, tuple(ran))


def pending(stages: Sequence[Stage], place: Place) -> tuple[str, ...]:
    """The names of the stages that `run_stages` would run now: of the first that is not done, and of all behind it,
    since what they would be made of is not known yet. Changes nothing.
    """
    ledger = _Ledger.read(place.root / "ledger.json")
    facts: dict[str, Facts] = {}
    for number, stage in enumerate(stages):
        key = stage.key(facts)
        entry = ledger.entries.get(stage.name)
        done = entry is not None and entry["key"] == key and _locate(entry["outputs"], place) is not None
        if entry is None or not done or not stage.check(entry["facts"]):
            return tuple(later.name for later in stages[number:])
        facts[stage.name] = entry["facts"]
    return () if place.final.is_dir() else ("settle",)


def enter_again(place: Place, folder: Path, before: Mapping[str, str]) -> None:
    """Enter the new digests of outputs that were rewritten in the finished package, so that they are not made again.

    before: name -> sha256 that the file had; an entry of another one is of another package and stays. The caller holds
    the lock.
    """
    ledger = _Ledger.read(place.root / "ledger.json")
    for entry in ledger.entries.values():
        for name, digest in before.items():
            if entry["outputs"].get(name, [""])[0] == digest:
                stat = (folder / name).stat()
                entry["outputs"][name] = [sha256_file(folder / name), stat.st_size, stat.st_mtime_ns]
    if ledger.entries:
        write_text(ledger.path, json.dumps(ledger.entries, ensure_ascii=False, indent=1))


def _keep_outputs(stages: Sequence[Stage], work: Path) -> None:
    """Take away what no stage of this run makes: another quantization's model, a log, half-written files."""
    ours = {work / name for stage in stages for name in stage.outputs}
    for path in sorted(work.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in ours:
            path.unlink()


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
    """Give a file a second place: a hard link on the same disk, else a copy with the same times.

    Where `source` is a link, what it leads to: files in the Hugging Face cache are links that work only there.
    """
    real = source.resolve(strict=True)
    try:
        os.link(real, target)
    except OSError:
        partial = target.with_name(f"{target.name}.partial")
        shutil.copy2(real, partial)
        partial.replace(target)
