"""Room on disks and in memory: counted by disk, refused with every figure before anything is written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ggship.errors import NoRoom
from ggship.needs import SPARE, Machine, Need, available_memory, require_room, rooms

GB = 10**9


def machine(free=100 * GB, memory=8 * GB, disk_of=lambda path: "one"):
    return Machine(disk=lambda path: SimpleNamespace(free=free), memory=lambda: memory, disk_of=disk_of)


def test_needs_on_one_disk_are_added_up(tmp_path):
    needs = [Need("a", 3 * GB, tmp_path / "x" / "y"), Need("b", 2 * GB, tmp_path)]
    (room,) = rooms(needs, machine())
    assert (room.bytes, room.free, room.folder) == (5 * GB, 100 * GB, tmp_path / "x" / "y")


def test_disks_are_told_apart(tmp_path):
    (tmp_path / "other").mkdir()
    there = machine(disk_of=lambda path: path.name)
    found = rooms([Need("a", 1, tmp_path), Need("b", 2, tmp_path / "other"), Need("c", 3, tmp_path)], there)
    assert [room.bytes for room in found] == [4, 2]


def test_not_enough_is_refused_with_all_figures(tmp_path):
    needs = [Need("model.q8_0.gguf", 3 * GB, tmp_path / "dist"), Need("Ollama's copy", 3 * GB, tmp_path / "ollama")]
    with pytest.raises(NoRoom) as caught:
        require_room(needs, machine=machine(free=5 * GB))
    assert "6.0 GB needed, 5.0 GB free" in caught.value.message
    assert f"Ollama's copy: 3.0 GB in {tmp_path / 'ollama'}" in caught.value.where
    assert "--out" in caught.value.hint
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("free", "enough"), [(GB + SPARE, True), (GB + SPARE - 1, False)])
def test_a_little_is_left(free, enough, tmp_path):
    (room,) = rooms([Need("a", GB, tmp_path)], machine(free=free))
    assert room.enough is enough


def test_nothing_always_fits(tmp_path):
    require_room([Need("a", 0, tmp_path)], machine=machine(free=0))
    require_room([], machine=machine(free=0))


def test_memory_that_is_not_there(tmp_path):
    with pytest.raises(NoRoom, match=r"not enough memory: 9.0 GB needed, 8.0 GB free"):
        require_room([], memory=9 * GB, machine=machine())
    require_room([], memory=9 * GB, machine=machine(memory=0))  # a system that does not tell


def test_this_machine_tells_both():
    assert available_memory() > 1 << 20
    (room,) = rooms([Need("a", 1, Path("nowhere") / "at" / "all")])
    assert room.free > 0
