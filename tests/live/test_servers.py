"""scripts/live-servers itself: it starts what it says, and stops exactly that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ggship.runtimes.model import ChatOptions
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient

SCRIPT = Path(__file__).parents[2] / "scripts" / "live-servers"


@pytest.mark.parametrize(("era", "version"), [("old_ollama", "0.32.14"), ("new_ollama", "0.34.4")])
def test_each_era_is_there_and_holds_the_real_base(request, era, version):
    client = OllamaClient(request.getfixturevalue(era))
    assert client.version() == version
    assert client.digest("smollm2:135m")


def run(command: str, root: Path, state: Path) -> str:
    argv = [sys.executable, str(SCRIPT), command, "--root", str(root), "--state", str(state)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or command == "env", done.stderr
    return done.stdout


def running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        if task.name != str(pid)
        for child in (task / "children").read_text().split()
    ]


def test_stop_ends_the_servers_their_children_and_nothing_else(llama_cpp_dir, tmp_path, old_ollama):
    root, state = llama_cpp_dir.parent, tmp_path / "state"
    run("start", root, state)
    try:
        values = dict(line.split("=", 1) for line in run("env", root, state).splitlines())
        status = run("status", root, state)
        pids = [int(line.rpartition("process ")[2].rstrip(")")) for line in status.splitlines() if "process" in line]
        assert len(pids) == 2
        assert values["GGSHIP_LIVE_OLLAMA_OLD"] != old_ollama
        run("start", root, state)
        assert run("status", root, state) == status  # starting what runs changes nothing
        endpoint = OllamaRuntime(OllamaClient(values["GGSHIP_LIVE_OLLAMA_NEW"])).endpoint("smollm2:135m")
        endpoint.chat([{"role": "user", "content": "hi"}], ChatOptions(num_predict=1))
        loaded = [child for pid in pids for child in children(pid)]
        assert loaded
    finally:
        run("stop", root, state)
    assert [pid for pid in [*pids, *loaded] if running(pid)] == []
    assert run("env", root, state).strip() == ""
    assert OllamaClient(old_ollama).version() == "0.32.14"


def test_without_go_it_says_so_loudly_before_it_fetches_anything(tmp_path):
    root = tmp_path / "root"
    environment = {**os.environ, "PATH": str(tmp_path), "GOROOT": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "start", "--root", str(root)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 3
    assert "Go is not on this machine" in done.stderr
    assert "LIVE TESTS CANNOT RUN" in done.stderr
    assert [path.name for path in root.iterdir()] == ["live"]
