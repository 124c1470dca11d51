"""A thin bundle on real servers of both eras: merged again there, the same bytes, and the model says what it learnt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from ggship.runtimes.endpoints import OllamaEndpoint
from ggship.runtimes.model import ChatOptions
from ggship.runtimes.ollama_api import OllamaClient

EXAMPLE = Path(__file__).parents[2] / "examples" / "law-helper" / "lora-out"


def ggship(*arguments: str, cwd: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "ggship", *arguments, "--json"]
    done = subprocess.run(command, cwd=cwd, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory, base_gguf: Path) -> Path:
    """A thin bundle of the example, made without any server."""
    folder = tmp_path_factory.mktemp("made")
    ggship("package", str(EXAMPLE), "--name", "law", "--base", str(base_gguf), "--runtime", "none", cwd=folder)
    told = ggship("export", "law", "-o", "law.ggship", "--thin", cwd=folder)
    assert told["bytes"] < told["package_bytes"] / 10
    return folder / "law.ggship"


def test_a_thin_bundle_becomes_the_model_on_each_server(
    each_ollama: str, old_ollama: str, thin: Path, base_gguf: Path, tmp_path: Path
) -> None:
    # The new server holds the base as it is; the old one rewrote it when it was created, so there it is a file.
    base = ("--base", str(base_gguf)) if each_ollama == old_ollama else ()
    name, client = f"ggship-live-bundle-{uuid.uuid4().hex[:8]}", OllamaClient(each_ollama)
    try:
        told = ggship("import", str(thin), "--name", name, "--host", each_ollama, *base, cwd=tmp_path)
        assert told["rebuilt"]
        assert told["prompt"] == "11 of 11 conversations as in training"
        assert client.digest(name) == told["digest"]
        question = [{"role": "user", "content": "How long does copyright last?"}]
        answer = OllamaEndpoint(client, name).chat(question, ChatOptions(num_predict=64))  # type: ignore[arg-type]
        assert "70 years" in answer.text
        assert not ggship("import", str(thin), "--name", name, "--host", each_ollama, cwd=tmp_path)["changed"]
        assert not [one["name"] for one in client.tags() if one["name"].startswith(f"{name}:ggship")]
    finally:
        for one in client.tags():
            if str(one["name"]).startswith(f"{name}:"):
                client.delete(str(one["name"]))
