"""--dry-run says what the work takes; a disk or memory too small for it is found out before the first byte."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ggship.errors import NoRoom
from ggship.needs import Machine
from ggship.preflight import of_package
from ggship.runtimes.find import find_runtime
from ggship.ship import package_job, prepare

GB = 10**9


def machine(free: int, memory: int = 8 * GB) -> Machine:
    return Machine(disk=lambda path: SimpleNamespace(free=free), memory=lambda: memory)


@pytest.fixture
def job(shop):
    def make(**options):
        options = {"strategy": "merge", "evaluate": False, **options}
        return prepare(shop.options(**options), runtime=find_runtime("ollama", shop.server.url))

    return make


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix in (".gguf", ".partial"))


def test_every_file_is_counted(job, shop):
    needs = {need.what: need for need in of_package(job()).disk}
    assert {"adapter.gguf", "model.q8_0.gguf"} <= set(needs)
    assert needs["model.q8_0.gguf"].folder.is_relative_to(shop.root / "out")
    package = shop.package(strategy="merge", evaluate=False).info.path
    for name in ("adapter.gguf", "model.q8_0.gguf"):
        size = (package / name).stat().st_size
        assert needs[name].bytes <= size <= needs[name].bytes + 20_000  # headers


def test_the_server_s_own_copies_are_counted_where_it_is_here(job, shop, monkeypatch):
    shop.serve_base("other")
    (shop.root / "models").mkdir()
    monkeypatch.setenv("OLLAMA_MODELS", str(shop.root / "models"))
    copies = [need for need in of_package(job()).disk if need.what.startswith("Ollama")]
    assert {need.stage for need in copies} == {"create", "evaluate"}
    assert {need.folder for need in copies} == {shop.root / "models"}


def test_a_disk_that_is_too_small_is_found_out_before_the_first_byte(job, shop):
    before = files(shop.root)
    with pytest.raises(NoRoom) as caught:
        package_job(job(), machine=machine(free=1000))
    assert "needed, 1.0 kB free" in caught.value.message
    assert "model.q8_0.gguf" in caught.value.where
    assert "--out" in caught.value.hint
    assert files(shop.root) == before
    assert shop.server.paths("POST") == [] or "/api/create" not in shop.server.paths("POST")[1:]


def test_memory_too(job):
    with pytest.raises(NoRoom, match="not enough memory"):
        package_job(job(), machine=machine(free=100 * GB, memory=1000))


def test_a_run_with_nothing_to_do_needs_no_room(job, shop):
    package_job(job())
    assert package_job(job(), machine=machine(free=0, memory=1)).ran == ()


def test_dry_run_says_what_is_needed_and_free(shop, capsys):
    arguments = ["package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url]
    assert shop.ggship(*arguments, "--strategy", "merge", "--dry-run") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "needed," in told
    assert "needed at the peak" in told
    assert "model.q8_0.gguf" in told
    assert shop.ggship(*arguments, "--strategy", "merge", "--dry-run", "--json") == 0
    needs = json.loads(capsys.readouterr().out)["needs"]
    assert needs["disks"][0]["enough"] is True
    assert needs["memory"]["needed"] > 0


@pytest.mark.parametrize("command", ["merge", "convert"])
def test_merge_and_convert_say_it_too_and_write_nothing(command, shop, capsys):
    out = shop.root / "made" / "out.gguf"
    arguments = [command, shop.run, "--base", shop.base, "--out", out, "--dry-run"]
    assert shop.ggship(*arguments) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "out.gguf" in told
    assert "needed at the peak" in told
    assert "base of training" in told
    assert not out.parent.exists()
    assert shop.ggship(*arguments, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    (disk,) = document["needs"]["disks"]
    assert disk["enough"] is True
    assert shop.ggship(*arguments[:-1]) == 0
    assert disk["needed"] <= out.stat().st_size <= disk["needed"] + 20_000


class TestFingerprint:
    def test_it_stands_in_the_plan_and_in_the_package(self, shop, capsys):
        arguments = ["package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url]
        assert shop.ggship(*arguments, "--dry-run") == 0
        assert "base of training" in capsys.readouterr().out
        document = json.loads((shop.package(evaluate=False).info.path / "ggship.json").read_text())
        assert document["base"]["fingerprint"]["verdict"] in ("same", "compatible")
        assert document["base"]["commit"] == ""
        assert str(shop.root) not in json.dumps(document["base"])
