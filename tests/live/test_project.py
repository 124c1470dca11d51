"""The CI examples, run as the scripts that they are: ggship.yaml from a run to a registry, on a real Ollama."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ggship.runtimes.ollama_api import OllamaClient

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "law-helper"


@pytest.fixture
def project(tmp_path: Path, new_ollama: str, base_gguf: Path, registry: str) -> Iterator[Path]:
    name = f"ggship-live-project-{uuid.uuid4().hex[:6]}"
    shutil.copytree(EXAMPLE / "lora-out", tmp_path / "lora-out", ignore=shutil.ignore_patterns("checkpoint-*"))
    suite = yaml.safe_load((EXAMPLE / "suite.yaml").read_text("utf-8"))
    suite["tests"] = suite["tests"][:4]
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite, allow_unicode=True), encoding="utf-8")
    wanted = ["--name", name, "--base", str(base_gguf), "--publish", f"ollama:{registry}/ns/{name}"]
    made = script(tmp_path, new_ollama, f"ggship init ./lora-out {' '.join(wanted)}")
    assert made.returncode == 0, made.stderr
    yield tmp_path
    client = OllamaClient(new_ollama)
    for model in client.tags():
        if name in model["name"]:
            client.delete(model["name"])


def script(folder: Path, host: str, text: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a CI runner does, with the ggship of this environment in place of an installed one."""
    there = folder / "bin"
    there.mkdir(exist_ok=True)
    (there / "ggship").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ggship "$@"\n')
    (there / "ggship").chmod(0o755)
    environment = {**os.environ, "PATH": f"{there}:{os.environ['PATH']}", "OLLAMA_HOST": host}
    environment["GGSHIP_STATE_DIR"] = str(folder / "state")
    command = ["bash", "-e", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_what_github_runs_ships_and_what_gitlab_runs_after_it_finds_nothing_to_do(project, new_ollama):
    github = yaml.safe_load((ROOT / "examples/ci/github.yml").read_text("utf-8"))
    steps = {step["name"]: step["run"] for step in github["jobs"]["ship"]["steps"] if "run" in step}
    assert list(steps) == ["install", "plan", "ship"]
    plan = script(project, new_ollama, steps["plan"])
    assert plan.returncode == 0, plan.stderr
    assert "would be made (convert, merge, create, prove, evaluate" in plan.stdout
    ship = script(project, new_ollama, steps["ship"])
    assert ship.returncode == 0, ship.stderr
    assert "pushed, and read back" in ship.stdout
    (package,) = (path for path in (project / "dist").glob("*") if not path.name.startswith("."))
    assert (package / "eval" / "junit.xml").is_file()  # what both keep of it

    gitlab = yaml.safe_load((ROOT / "examples/ci/gitlab-ci.yml").read_text("utf-8"))
    again = script(project, new_ollama, "\n".join(gitlab["plan"]["script"]))
    assert "Everything is as ggship.yaml says." in again.stdout, again.stderr
    ship = script(project, new_ollama, "\n".join(gitlab["ship"]["script"]))
    assert ship.returncode == 0, ship.stderr
    assert "nothing to do" in ship.stdout
    assert "nothing was pushed" in ship.stdout
