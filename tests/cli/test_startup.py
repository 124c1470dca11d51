"""Start-up budgets, held by the modules that are imported: time itself is too noisy to assert."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "transformers",
    "peft",
    "huggingface_hub",
    "numpy",
    "gguf",
    "libgguf",
    "httpx",
    "httpx2",
    "jinja2",
    "yaml",
    "rich",
    "rapidfuzz",
    "safetensors",
    "xllamacpp",
    "filelock",
    "platformdirs",
}


def imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ggship", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["package", "--help"], ["eval", "--help"], ["review", "--help"]]
)
def test_asking_what_it_can_do_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments) & HEAVY == set()
