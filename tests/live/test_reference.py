"""The example in F16, from its real base, is what was trained: token by token against Transformers and PEFT."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.example import example_run, example_suite


def test_the_example_in_f16_says_what_base_and_adapter_say(
    base_gguf: Path, llama_cpp_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, package = str(tmp_path / "base.gguf"), str(tmp_path / "law")
    unpack = [str(llama_cpp_dir / "llama-quantize"), "--allow-requantize", str(base_gguf), base, "F16"]
    subprocess.run(unpack, check=True, capture_output=True)
    made = ["package", str(example_run()), "--name", "reference-law", "--base", base, "--out", package]
    assert run(cli, [*made, "--runtime", "none", "--strategy", "merge", "--quant", "F16"]) == 0
    capsys.readouterr()

    asked = ["--suite", str(example_suite()), "--limit", "3", "--tokens", "24", "--whole", "1"]
    assert run(cli, ["verify", package, "--reference", *asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["reference"]
    assert found["precision"] == "F16"
    assert found["positions"] > 50
    assert found["agreement"] >= 0.99
    assert found["kl_max"] < 0.001
    assert (found["tokens"], found["prompts"]) == ([], [])
