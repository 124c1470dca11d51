"""Releases on real servers: back and forth by one copy, and ggship killed under clients that ask all the time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggship.releases.proofs import Proof
from ggship.releases.releasing import release
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient

pytestmark = pytest.mark.live
BASE = "smollm2:135m"
SCRIPT = Path(__file__).parents[2] / "scripts" / "kill-releases"
# 200 on each server are run by hand (docs/releases.md); the gate has a minute for it.
KILLS = os.environ.get("GGSHIP_TEST_KILLS", "6")


@pytest.fixture
def released(each_ollama: str) -> Iterator[tuple[OllamaRuntime, str]]:
    """Two versions of a model; the second is live."""
    runtime, name = OllamaRuntime(OllamaClient(each_ollama)), f"ggship-live-releases-{os.getpid()}"
    for system in ("one", "two"):
        runtime.client.create({"model": f"{name}:ggship-staging", "from": BASE, "system": system})
        digest = runtime.digest(f"{name}:ggship-staging") or ""
        release(runtime, f"{name}:ggship-staging", name, digest, Proof(True))
    yield runtime, name
    for model in runtime.client.tags():
        if str(model["name"]).startswith(f"{name}:"):
            runtime.delete(str(model["name"]))


def ggship(*arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "ggship", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


def test_back_forth_and_pruned(released: tuple[OllamaRuntime, str]) -> None:
    runtime, name = released
    one, two = runtime.digest(f"{name}:v1"), runtime.digest(f"{name}:v2")
    assert one != two == runtime.digest(name)
    assert ggship("rollback", name, "--host", runtime.client.url)["changed"] is True
    assert runtime.digest(name) == one
    assert runtime.client.show(name)["system"] == "one"
    ggship("rollback", name, "--host", runtime.client.url)
    assert runtime.digest(name) == two
    told = ggship("releases", name, "--prune", "--keep", "1", "--host", runtime.client.url)
    assert told["live"] == {"version": 2, "digest": two}
    assert told["drift"] == []
    assert runtime.digest(f"{name}:v1") == one  # the one before is never pruned


def test_killed_at_random_moments_no_answer_fails(each_ollama: str) -> None:
    command = [sys.executable, str(SCRIPT), "--host", each_ollama, "--base", BASE, "--kills", KILLS]
    done = subprocess.run(
        [*command, "--name", f"ggship-live-kill-{os.getpid()}"], capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    assert told["failed"] == {}
    assert told["answers"] > 10
    assert told["acts"] > int(KILLS) / 4
    assert done.returncode == 0, done.stderr
