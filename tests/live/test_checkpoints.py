"""Every checkpoint of the example on real servers, and with none: one is chosen, the rest leaves no trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ggship.runtimes.ollama_api import OllamaClient

RUN = Path(__file__).parents[2] / "examples" / "law-helper" / "lora-out"
NAME = "law-helper-checkpoints"
SUITE = """\
version: 1
name: brief
defaults: {options: {temperature: 0, seed: 42, num_predict: 8}}
smoke: {stops: 1}
gates: [changed_rate >= 1]
tests:
- {id: asked, prompt: 口头合同有法律效力吗？, assert: [{type: regex, value: "."}]}
"""


@pytest.fixture
def package(tmp_path: Path):
    """package(*arguments): what `ggship package --all-checkpoints --json` prints."""
    (tmp_path / "suite.yaml").write_text(SUITE)

    def make(*arguments: str | Path) -> dict[str, object]:
        command = ["package", RUN, "--name", NAME, "--all-checkpoints", "--suite", "suite.yaml", "--json", *arguments]
        done = subprocess.run(
            [sys.executable, "-m", "ggship", *map(str, command)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NO_COLOR": "1", "GGSHIP_STATE_DIR": str(tmp_path / "state")},
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        document: dict[str, object] = json.loads(done.stdout)
        return document

    return make


def test_every_checkpoint_is_asked_and_one_is_live(each_ollama, package, tmp_path):
    client = OllamaClient(each_ollama)
    try:
        document = package("--host", each_ollama)
        live = {str(model["name"]): str(model["digest"]) for model in client.tags() if NAME in str(model["name"])}
        assert live == dict.fromkeys((f"{NAME}:latest", f"{NAME}:v1"), document["model"]["digest"])
        candidates = {one["name"]: one for one in document["selection"]["candidates"]}
        assert set(candidates) == {"checkpoint-300", "checkpoint-600"}  # the top is the last one again
        digests = {json.loads((tmp_path / "dist" / one["package"] / "ggship.json").read_text())["model"]["digest"]
                   for one in candidates.values()}  # fmt: skip
        assert len(digests) == 2
        assert document["model"]["digest"] in digests
        assert package("--host", each_ollama)["ran"] == []
    finally:
        for model in client.tags():
            if str(model["name"]).startswith(NAME):
                client.delete(str(model["name"]))


def test_without_any_ollama_too(package, base_gguf):
    document = package("--runtime", "embedded", "--base", base_gguf, "--strategy", "adapter")
    assert document["selection"]["chosen"] in ("checkpoint-300", "checkpoint-600")
    assert document["model"]["runtime"] == "embedded"
    assert document["eval"]["passed"] is True
