"""`ggship compare` on real servers: models that are the same differ in nothing, others do, and each is asked once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.runtimes.model import ModelSpec
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient

BASE, SAME, SHOUTS = "smollm2:135m", "ggship-compare-same:latest", "ggship-compare-other:latest"
SUITE = """
version: 1
defaults: {options: {num_predict: 12}}
gates: ["regressions <= 0"]
smoke: {stops: 1, no-loops: 1}
tests:
  - {id: paris, prompt: What is the capital of France?, assert: [{type: icontains, value: Paris}]}
  - {id: rome, prompt: What is the capital of Italy?, assert: [{type: icontains, value: Rome}]}
"""


@pytest.fixture
def server(each_ollama: str) -> Iterator[str]:
    runtime = OllamaRuntime(OllamaClient(each_ollama))
    runtime.copy(BASE, SAME)
    runtime.create(SHOUTS, ModelSpec(from_name=BASE, system="Whatever you are asked, answer with the word NO.",
                                     template="{{ .System }} NO NO NO"))  # fmt: skip
    yield each_ollama
    for name in (SAME, SHOUTS):
        runtime.delete(name)
    runtime.close()


def test_the_same_model_is_no_better_and_another_is_told_apart(server, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("GGSHIP_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "suite.yaml").write_text(SUITE)
    arguments = ["compare", BASE, SAME, SHOUTS, "--host", server, "--suite", str(tmp_path / "suite.yaml"), "--json"]
    code = run(cli, [*arguments, "--likelihood"])
    told = capsys.readouterr()
    document = json.loads(told.out)
    base, same, shouts = document["models"]
    assert base["score"]["pass_rate"] == 1.0
    assert (same["comparison"]["ties"], same["comparison"]["delta_pass_rate"], same["holm_p"]) == (2, 0.0, 1.0)
    assert same["comparison"]["changed_rate"] == 0.0
    assert same["score"]["digest"] == base["score"]["digest"] != shouts["score"]["digest"]
    assert shouts["comparison"]["regressions"] == ["paris", "rome"]
    assert same["verdict"]["passed"] is True
    assert (code, document["passed"], shouts["verdict"]["passed"]) == (3, False, False)
    assert all(model["speed"]["first_token_p50_seconds"] > 0 for model in document["models"])
    # What Ollama cannot tell is said, and is no number.
    assert [model["score"]["likelihood"] for model in document["models"]] == [None] * 3
    assert any("no likelihood of" in warning for warning in document["warnings"])
