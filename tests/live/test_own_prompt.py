"""A base whose Ollama model brings its own renderer: its weights are taken, its prompt is not inherited."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggship.errors import PromptMismatch
from ggship.plan import PackageOptions
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient
from ggship.runtimes.shown import own_prompt
from ggship.ship import package_run

RUN = Path(__file__).parents[2] / "examples" / "law-helper" / "lora-out"
BASE, NAME = "own-prompt-base", "own-prompt-law"


@pytest.fixture
def client(old_ollama: str) -> Iterator[OllamaClient]:
    client = OllamaClient(old_ollama)
    client.create({"model": BASE, "from": "smollm2:135m", "renderer": "qwen3-coder", "parser": "qwen3-coder"})
    yield client
    for model in client.tags():
        if str(model["name"]).startswith("own-prompt-"):
            client.delete(str(model["name"]))


def test_a_renderer_of_the_base_is_not_inherited(client, old_ollama, tmp_path):
    assert own_prompt(client.show(BASE)) == "RENDERER qwen3-coder, PARSER qwen3-coder"
    asked = ["package", RUN, "--base", f"ollama:{BASE}", "--name", NAME, "--no-eval", "--strategy", "adapter"]
    done = subprocess.run(
        [sys.executable, "-m", "ggship", *map(str, asked), "--host", old_ollama],
        cwd=tmp_path,
        env={**os.environ, "GGSHIP_STATE_DIR": str(tmp_path / "state"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "11 of 11 conversations rendered as in training" in done.stdout
    assert own_prompt(client.show(NAME)) == ""


def test_one_that_cannot_be_left_behind_is_named_and_nothing_goes_live(client, old_ollama, tmp_path):
    """A remote server is simulated: this process may not look at its files, so the base is inherited by its name."""
    runtime = OllamaRuntime(OllamaClient(old_ollama), reads_files=False)
    options = PackageOptions(RUN, NAME, base=f"ollama:{BASE}", out=tmp_path / NAME, evaluate=False, host=old_ollama)
    with pytest.raises(PromptMismatch) as refused:
        package_run(options, runtime=runtime)
    assert "renders another prompt than training did" in refused.value.message
    assert "RENDERER qwen3-coder" in refused.value.hint
    assert "--base FILE.gguf" in refused.value.hint
    assert {str(model["name"]) for model in client.tags() if str(model["name"]).startswith("own-")} == {
        f"{BASE}:latest"
    }
