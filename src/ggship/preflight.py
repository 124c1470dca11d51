"""What a job will write and hold in memory: printed by `--dry-run`, required before the first byte is written."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.bases.model import Base
from ggship.needs import THIS, Machine, Need, require_room, rooms
from ggship.package import ADAPTER, BASE
from ggship.place import package_place
from ggship.settings import cache_dir

if TYPE_CHECKING:
    from ggship.runs.model import Run
    from ggship.stages.job import Job

MERGE_MEMORY = 256 << 20
"""A merge holds one pair and some buffers a thread, whatever the size of the model (docs/benchmarks.md)."""
CONVERTER_MEMORY = 1 << 30
"""llama.cpp's converter: torch and transformers; a tensor in float32 and its copies come on top."""
_COPIES = 3
_CHANGED = ("convert", "merge", "base", "create", "evaluate")


@dataclass(frozen=True, slots=True)
class Preflight:
    """disk: what will be written, each for a stage of the job; memory: (what, bytes at its peak)."""

    disk: tuple[Need, ...]
    memory: tuple[tuple[str, int], ...] = ()

    @property
    def peak(self) -> int:
        """The most memory that any of the work takes; they come one after another."""
        return max((count for _, count in self.memory), default=0)

    def require(self, *, stage: str = "", machine: Machine = THIS) -> None:
        """Raise NoRoom where there is not enough for it all, or for the stage and those that come after it."""
        first = _CHANGED.index(stage) if stage in _CHANGED else 0
        left = [need for need in self.disk if need.stage not in _CHANGED or _CHANGED.index(need.stage) >= first]
        require_room(left, memory=self.peak, machine=machine)

    def rows(self, machine: Machine = THIS) -> list[tuple[str, str]]:
        """For two columns: each disk, and memory, needed and free."""
        from ggship.card import human_size

        rows = []
        for room in rooms(self.disk, machine):
            parts = "; ".join(f"{need.what} {human_size(need.bytes)} in {need.folder}" for need in room.needs)
            short = "" if room.enough else "NOT ENOUGH: "
            rows.append(("disk", f"{short}{human_size(room.bytes)} needed, {human_size(room.free)} free ({parts})"))
        if self.memory:
            free = machine.memory()
            short = "NOT ENOUGH: " if free and self.peak > free else ""
            there = f", {human_size(free)} free" if free else ""
            parts = "; ".join(f"{what} {human_size(count)}" for what, count in self.memory)
            rows.append(("memory", f"{short}{human_size(self.peak)} needed at the peak{there} ({parts})"))
        return rows

    def document(self, machine: Machine = THIS) -> dict[str, Any]:
        """For --json."""
        disks = [
            {
                "folder": str(room.folder),
                "free": room.free,
                "needed": room.bytes,
                "enough": room.enough,
                "files": [{"what": need.what, "bytes": need.bytes, "folder": str(need.folder)} for need in room.needs],
            }
            for room in rooms(self.disk, machine)
        ]
        return {"disks": disks, "memory": {"needed": self.peak, "free": machine.memory(), "parts": dict(self.memory)}}


def of_package(job: Job) -> Preflight:
    """What `ggship package` will need for this job, were nothing of it done yet."""
    plan, sizes = job.plan, job.plan.sizes
    work = package_place(job.options.folder, job.options.name).work
    disk, memory = _of_base(job.base, whole=plan.base_file or _asks_base_file(job)) if job.needs_weights else ([], [])
    disk = [Need(need.what, need.bytes, need.folder, plan.strategy.replace("adapter", "base")) for need in disk]
    if "adapter.gguf" in sizes:
        disk.append(Need(ADAPTER, sizes["adapter.gguf"], work, "convert"))
    weights = base_bytes(job.base)
    if plan.strategy == "merge":
        disk.append(Need(plan.merged_name, sizes.get("merged model", 0), work, "merge"))
        memory.append(("the merge", MERGE_MEMORY))
    elif plan.base_file and (job.base.gguf is None or not _linkable(job.base.gguf, work)):
        disk.append(Need(BASE, weights, work, "base"))
    if plan.route.kind == "peft":
        part, peak = _of_peft(job.run, job.base, work)
        disk.append(part)
        memory.append(peak)
    folder = models_folder(job)
    if folder is not None:
        served = sizes.get("merged model", 0) if plan.strategy == "merge" else sizes.get("adapter.gguf", 0)
        disk.append(Need("Ollama's copy of the model", served, folder, "create"))
        if job.base.from_name is None:
            stage = "evaluate" if plan.strategy == "merge" else "create"
            disk.append(Need("Ollama's copy of the base, to compare with", weights, folder, stage))
    return Preflight(tuple(need for need in disk if need.bytes), tuple(memory))


def of_merge(
    run: Run | None, base: Base, touched: Collection[str], out: Path, quant: str | None, *, peft: bool = False
) -> Preflight:
    """What `ggship merge` will need. run: None for an adapter in GGUF. touched: tensors of the base that it changes."""
    disk, memory = _of_base(base, whole=peft)
    disk.append(Need(out.name, _merged_bytes(base, touched, quant), out.parent, "merge"))
    memory.append(("the merge", MERGE_MEMORY))
    if peft and run is not None:
        part, peak = _of_peft(run, base, out.parent)
        disk.append(part)
        memory.append(peak)
    return Preflight(tuple(need for need in disk if need.bytes), tuple(memory))


def of_convert(run: Run, out: Path, outtype: str) -> Preflight:
    """What `ggship convert` will need: the file, and one tensor at a time in memory."""
    largest = max((header.nbytes for header in run.tensors.values()), default=0)
    size = run.parameters * (4 if outtype == "f32" else 2)
    memory = MERGE_MEMORY + 2 * _COPIES * largest
    return Preflight((Need(out.name, size, out.parent, "convert"),), (("the conversion", memory),))


def base_bytes(base: Base) -> int:
    """The size of the base as one GGUF file; of a directory, in 16 bits."""
    if base.gguf is not None:
        from ggship.gguf.parts import files_of

        return sum(path.stat().st_size for path in files_of(base.gguf))
    return 2 * sum(prod(tensor.shape) for tensor in base.tensors.values())


def _merged_bytes(base: Base, touched: Collection[str], quant: str | None) -> int:
    if base.gguf is not None:
        from ggship.gguf.parts import read_model
        from ggship.gguf.plan import plan_merge

        return sum(tensor.nbytes for tensor in plan_merge(read_model(base.gguf), touched, quant))
    if quant is None:
        return base_bytes(base)
    from ggship.gguf.mix import FILE_TYPES, parse_quant

    return int(base_bytes(base) * FILE_TYPES[parse_quant(quant)][1].bits / 16)


def models_folder(job: Job) -> Path | None:
    """Where the Ollama server of this machine keeps its models; None where there is none, or its place is not known.

    Where it holds the base, that blob lies there. Else $OLLAMA_MODELS, or the usual places; another server's variable
    is not ours to see.
    """
    if job.runtime is None or job.runtime.kind != "ollama":
        return None
    if job.base.ollama_name is not None:
        return job.base.gguf.parent if job.base.gguf is not None else None
    is_local = getattr(job.runtime, "is_local", None)
    if is_local is None or not is_local():
        return None
    named = os.environ.get("OLLAMA_MODELS")
    places = ([Path(named).expanduser()] if named else []) + [
        Path("~/.ollama/models").expanduser(),
        Path("/usr/share/ollama/.ollama/models"),
    ]
    return next((place for place in places if place.is_dir()), None)


def _of_base(base: Base, *, whole: bool) -> tuple[list[Need], list[tuple[str, int]]]:
    """What making one GGUF file of the base takes, where that is still to be done."""
    cache = cache_dir() / "bases"
    size = base_bytes(base)
    if base.gguf is not None:
        from ggship.bases.to_gguf import slug
        from ggship.gguf.parts import files_of

        parts = files_of(base.gguf)
        if len(parts) == 1 or not whole or _made(cache, slug(parts[0])):
            return [], []
        return [Need("the base's parts as one file", size, cache)], []
    if base.config_dir is None:
        return [], []
    from ggship.bases.to_gguf import is_chatglm3, slug

    if _made(cache, slug(base.config_dir)):
        return [], []
    largest = max((prod(tensor.shape) for tensor in base.tensors.values()), default=0)
    times = 2 if is_chatglm3(base.config_dir) else 1
    memory = CONVERTER_MEMORY + 4 * _COPIES * largest
    return [Need("the base as GGUF", times * size, cache)], [("converting the base", memory)]


def _of_peft(run: Run, base: Base, folder: Path) -> tuple[Need, tuple[str, int]]:
    from ggship.bases.from_directory import weight_files
    from ggship.convert.peft import peft_needs

    place = base.config_dir if base.config_dir is not None and weight_files(base.config_dir) else base.gguf
    assert place is not None
    needs = peft_needs(run, place)
    return Need("the model that PEFT merges", needs.disk, folder, "merge"), ("the merge by PEFT", needs.memory)


def _asks_base_file(job: Job) -> bool:
    """Whether the base itself will be put on a server, to compare with."""
    return job.runtime is not None and job.base.from_name is None


def _made(cache: Path, name: str) -> bool:
    """Whether such a base was converted before; by its name, since its key would take reading all of it."""
    return any(cache.glob(f"{name}-*.gguf"))


def _linkable(file: Path, folder: Path) -> bool:
    """Whether both are on one disk, where a second name costs nothing."""
    existing: Sequence[Path] = [path for path in (folder, *folder.absolute().parents) if path.exists()]
    try:
        return bool(existing) and existing[0].stat().st_dev == file.resolve().stat().st_dev
    except OSError:
        return False
