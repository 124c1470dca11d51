"""`scripts/test` says aloud what it could not run, and fails for it only where CI is set."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Stands for the Python of each environment: records how it is called, and plays the servers' script.
PYTHON = """#!/bin/sh
echo "$@" >> calls
case "$*" in
  "scripts/live-servers start"*) exit ${SERVERS:-0};;
  "scripts/live-servers env") echo GGSHIP_LIVE_OLLAMA_NEW=http://new.test $REGISTRY;;
  *"-m live"*) echo "without: ${GGSHIP_LIVE_WITHOUT:-nothing}" >> calls;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts beside environments that are made already, with a stand-in for their Python."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    content = (ROOT / "pyproject.toml").read_bytes() + (ROOT / "scripts" / "environment").read_bytes()
    stamp = hashlib.sha256(content).hexdigest()[:16]
    for name, kind in ((".venv", "all"), *((f".venv-3.{minor}", "core") for minor in range(10, 15))):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON)
        python.chmod(0o755)
        (tmp_path / name / ".ggship-stamp").write_text(f"{stamp}-{kind}\n")
    return tmp_path


def ran(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """scripts/test on a machine that can install nothing: who runs it is not root."""
    tools = checkout / "tools"
    tools.mkdir()
    for name, body in (("id", "echo 1000"), ("chromium", "exit 0")):
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    plain = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("GGSHIP_")}
    env = {**plain, "PATH": f"{tools}:{plain['PATH']}", **environment}
    return subprocess.run(["bash", "scripts/test"], cwd=checkout, env=env, capture_output=True, text=True, check=False)


def calls(checkout: Path) -> str:
    return (checkout / "calls").read_text()


def test_the_live_tests_run_where_the_servers_start(checkout: Path) -> None:
    done = ran(checkout, REGISTRY="GGSHIP_LIVE_REGISTRY=127.0.0.1:5000", CI="true")
    assert done.returncode == 0, done.stderr
    assert "without: nothing" in calls(checkout)
    assert calls(checkout).endswith("scripts/live-servers stop\n")


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_a_missing_tool_is_what_live_servers_calls_one(checkout: Path, ci: str, code: int) -> None:
    done = ran(checkout, SERVERS="3", CI=ci)
    assert done.returncode == code
    assert "THE LIVE TESTS DID NOT RUN" in done.stderr
    assert "-m live" not in calls(checkout)


def test_servers_that_do_not_start_are_a_failure_everywhere(checkout: Path) -> None:
    assert ran(checkout, SERVERS="1").returncode == 1


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_without_a_registry_all_but_its_tests_run(checkout: Path, ci: str, code: int) -> None:
    done = ran(checkout, CI=ci)
    assert done.returncode == code
    assert "THE TESTS THAT PUSH TO IT DO NOT RUN" in done.stderr
    assert ("without: registry" in calls(checkout)) is (not ci)


def test_the_pages_are_opened_where_there_is_a_browser(checkout: Path) -> None:
    assert ran(checkout, REGISTRY="GGSHIP_LIVE_REGISTRY=127.0.0.1:5000", CI="true").returncode == 0
    assert "-m pytest -q -m browser\n" in calls(checkout)


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_without_a_browser_all_but_its_tests_run(checkout: Path, ci: str, code: int) -> None:
    done = ran(checkout, CI=ci, GGSHIP_TEST_BROWSER="nowhere/chromium", REGISTRY="GGSHIP_LIVE_REGISTRY=127.0.0.1:5000")
    assert done.returncode == code
    assert "THE TESTS OF THE PAGES DID NOT RUN" in done.stderr
    assert "-m browser" not in calls(checkout)
    assert ("-m live" in calls(checkout)) is (not ci)
