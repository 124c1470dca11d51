"""The example's run in Transformers and PEFT, and its package on a real server: one suite, the same answers."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.evals.dump import render_suite
from ggship.evals.load import load_suite
from ggship.example import example_run, example_suite
from ggship.runtimes.ollama_api import OllamaClient

pytestmark = pytest.mark.hf


def test_the_run_and_its_package_in_f16_say_the_same(
    new_ollama: str, base_gguf: Path, llama_cpp_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, package = str(tmp_path / "base.gguf"), str(tmp_path / "law")
    unpack = [str(llama_cpp_dir / "llama-quantize"), "--allow-requantize", str(base_gguf), base, "F16"]
    subprocess.run(unpack, check=True, capture_output=True)
    suite, whole = tmp_path / "some.yaml", load_suite(example_suite())
    suite.write_text(render_suite(replace(whole, cases=whole.cases[::6])))  # all 28 take minutes, and say the same
    asked = ["--suite", str(suite), "--host", new_ollama]
    made = ["package", str(example_run()), "--name", "ask-unpackaged", "--base", base, "--out", package, "--no-eval"]
    assert run(cli, [*made, "--host", new_ollama, "--strategy", "merge", "--quant", "F16"]) == 0
    capsys.readouterr()
    try:
        code = run(cli, ["eval", package, "--against", f"hf:{example_run()}", "--base", base, *asked, "--json"])
        told = capsys.readouterr()
        assert code in (0, 3), told.err
        cases = json.loads(told.out)["cases"]
        same = [case["id"] for case in cases if case["tuned"]["text"].strip() == case["base"]["text"].strip()]
        assert len(cases) == len(same) == 5, sorted({case["id"] for case in cases} - set(same))
        assert {case["tuned"]["finish"] for case in cases} == {case["base"]["finish"] for case in cases}
    finally:
        OllamaClient(new_ollama).delete("ask-unpackaged")
