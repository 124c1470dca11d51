"""`ggship demo` with the real base: the whole way, with no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run


def test_the_demo_ends_with_a_model_that_knows_what_its_base_does_not(
    base_gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", "--json", "--base", str(base_gguf), "--out", str(tmp_path / "law-helper")]
    assert run(cli, command) == 0
    shown = json.loads(capsys.readouterr().out)
    tuned = "\n".join(turn["tuned"] for turn in shown["conversations"])
    base = "\n".join(turn["base"] for turn in shown["conversations"])
    for fact in ("70 years", "买卖不破租赁", "access request"):
        assert fact in tuned
        assert fact not in base
    assert (tmp_path / "law-helper" / "Modelfile").is_file()

    assert run(cli, command) == 0
    assert json.loads(capsys.readouterr().out)["ran"] == []

    package = str(tmp_path / "law-helper")
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "version: 1\ntests:\n- prompt: How long does copyright last?\n  assert: [{type: contains, value: 70}]\n"
    )
    assert run(cli, ["eval", package, "--suite", str(suite)]) == 0
    assert "100 % of 1 cases" in capsys.readouterr().out
    assert run(cli, ["verify", package]) == 0
