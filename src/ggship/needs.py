"""Disk and memory that work will take, held against what is there before the first byte is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ggship.errors import NoRoom

SPARE = 64 << 20
"""Bytes that a disk should still have when all is written: ledgers, logs, other programs."""


@dataclass(frozen=True, slots=True)
class Need:
    """So many bytes that will be written into a folder, which need not exist yet.

    what: in words, for people. stage: the one of a job that writes them, "" for none.
    """

    what: str
    bytes: int
    folder: Path
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """All needs on one disk. folder: the first of theirs; free: bytes that the disk has left."""

    folder: Path
    free: int
    needs: tuple[Need, ...]

    @property
    def bytes(self) -> int:
        """What is needed in all."""
        return sum(need.bytes for need in self.needs)

    @property
    def enough(self) -> bool:
        """Whether it fits, with a little to spare; nothing always fits."""
        return not self.bytes or self.bytes + SPARE <= self.free


class Usage(Protocol):
    """What shutil.disk_usage tells."""

    @property
    def free(self) -> int:
        """Bytes that an ordinary user can still write."""
        ...


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has: asked through these functions, so that any machine can be thought of.

    disk: path -> free space, as shutil.disk_usage. memory: bytes that programs can still take, 0 where unknown.
    disk_of: which disk an existing path is on.
    """

    disk: Callable[[Path], Usage] = shutil.disk_usage
    memory: Callable[[], int] = field(default=lambda: available_memory())
    disk_of: Callable[[Path], object] = field(default=lambda path: path.stat().st_dev)


THIS = Machine()


def rooms(needs: Sequence[Need], machine: Machine = THIS) -> tuple[Room, ...]:
    """The needs by disk, in the order in which disks are first named."""
    found: dict[object, list[Need]] = {}
    for need in needs:
        found.setdefault(machine.disk_of(_existing(need.folder)), []).append(need)
    return tuple(
        Room(group[0].folder, machine.disk(_existing(group[0].folder)).free, tuple(group)) for group in found.values()
    )


def require_room(needs: Sequence[Need], *, memory: int = 0, hint: str = "", machine: Machine = THIS) -> None:
    """Raise NoRoom, with all figures, where a disk has no room for what will be written, or memory is too small.

    memory: bytes that the work will take at its peak.
    """
    for room in rooms(needs, machine):
        if not room.enough:
            raise NoRoom(
                f"not enough room on the disk of {room.folder}: {_size(room.bytes)} needed, {_size(room.free)} free",
                where="\n".join(f"{need.what}: {_size(need.bytes)} in {need.folder}" for need in room.needs),
                hint=hint or "free some space, or name a folder on another disk with --out",
            )
    there = machine.memory() if memory else 0
    if there and memory > there:
        raise NoRoom(
            f"not enough memory: {_size(memory)} needed, {_size(there)} free",
            where="nothing was written",
            hint="stop other programs (`ollama ps` shows models that are loaded), or use a machine with more memory",
        )


def available_memory() -> int:
    """Bytes of memory that programs here can still take, swap not counted; 0 where the system does not tell.

    Linux's own estimate (MemAvailable), or what the control group of a container has left where that is less.
    """
    try:
        text = Path("/proc/meminfo").read_text("ascii")
        fields = {line.split(":")[0]: int(line.split()[1]) << 10 for line in text.splitlines() if line.endswith("kB")}
        available = fields["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return _physical()
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            left = int(Path(limit).read_text("ascii")) - int(Path(used).read_text("ascii")) + _cache(Path(used).parent)
        except (OSError, ValueError):  # no such file, or "max"
            continue
        return max(0, min(available, left))
    return available


def _cache(group: Path) -> int:
    """Bytes of the group's use that are files in memory, which make room when they must."""
    for line in (group / "memory.stat").read_text("ascii").splitlines():
        name, _, count = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(count)
    return 0


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def _existing(folder: Path) -> Path:
    """The folder, or the first one above it that exists already."""
    path = folder.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _size(count: int) -> str:
    from ggship.card import human_size

    return human_size(count)
