"""What a user reads before anything works: help, errors, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def ggship(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ggship", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "80", **environment},
    )


def test_help_shows_the_everyday_commands_first_and_fits_80_columns() -> None:
    text = ggship("--help").stdout
    positions = [text.index(f"  {name} ") for name in ("package", "eval", "inspect", "doctor", "verify", "convert")]
    assert positions == sorted(positions)
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize(
    "command", ["package", "eval", "inspect", "doctor", "verify", "demo", "publish", "gateway", "convert", "merge"]
)
def test_every_command_in_the_help_has_help_of_its_own(command: str) -> None:
    done = ggship(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: ggship {command}")


def test_a_mistyped_command_names_the_nearest_one() -> None:
    done = ggship("pakage")
    assert done.returncode == 2
    assert "Did you mean 'package'?" in done.stderr


def test_an_error_says_what_where_and_what_to_type(tmp_path: Path) -> None:
    done = ggship("verify", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    what, where, tip = done.stderr.splitlines()
    assert what.startswith("error: ")
    assert where.startswith("   ")
    assert tip.startswith(" → ggship package")
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in ggship("verify", str(tmp_path), GGSHIP_DEBUG="1").stderr


def test_an_empty_directory_is_no_run(tmp_path: Path) -> None:
    for command in (["inspect", str(tmp_path)], ["package", str(tmp_path), "--name", "x", "--runtime", "none"]):
        done = ggship(*command)
        assert done.returncode == 1, done.stderr
        assert "adapter_config.json" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name", ["law:cloud", "law helper", "law:local", "a/b/c/d", "", "law:qwen-cloud", "x:previous"]
)
def test_a_name_that_ollama_refuses_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    done = ggship("package", str(tmp_path), "--name", name)
    assert done.returncode == 2, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_json_puts_one_document_on_stdout() -> None:
    done = ggship("doctor", "--json")
    json.loads(done.stdout)
