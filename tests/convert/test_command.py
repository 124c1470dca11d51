"""`ggship convert`, through the front door."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run as run_command

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "base"


@pytest.fixture
def convert(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """convert(run, *options): (exit code, stdout, stderr)."""

    def call(run: Path, *options: str) -> tuple[int, str, str]:
        arguments = ["convert", str(run), "--base", str(base), "--out", str(tmp_path / "a.gguf"), *options]
        code = run_command(cli, arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_it_says_what_it_wrote_where_and_what_comes_next(convert, make_run, tmp_path, read_gguf):
    code, out, err = convert(make_run().path)
    assert code == 0, err
    assert "14, f32, for a llama base" in out
    assert "next: ggship package" in out
    assert read_gguf(tmp_path / "a.gguf")[0]["general.type"] == "adapter"


def test_json_is_one_document_on_stdout(convert, make_run, tmp_path):
    code, out, _ = convert(make_run(use_rslora=True).path, "--json", "--outtype", "bf16")
    document = json.loads(out)
    assert code == 0
    assert document["path"] == str(tmp_path / "a.gguf")
    assert document["bytes"] == (tmp_path / "a.gguf").stat().st_size
    assert (document["pairs"], document["outtype"], document["converter"]) == (14, "bf16", "native")
    assert len(document["folded"]) == 14


def test_a_refusal_exits_with_4_and_leaves_no_file(convert, make_run, tmp_path):
    code, _, err = convert(make_run(use_dora=True).path)
    assert code == 4
    assert "DoRA" in err
    assert not list(tmp_path.glob("a.gguf*"))


def test_an_untrained_adapter_needs_force(convert, make_run, tensors):
    run = make_run({name: t * 0 if "lora_B" in name else t for name, t in tensors.items()})
    code, _, err = convert(run.path)
    assert code == 4
    assert "--force" in err
    assert convert(run.path, "--force")[0] == 0


def test_a_folder_as_out_is_a_usage_error(convert, make_run, tmp_path):
    (tmp_path / "a.gguf").mkdir()
    code, _, err = convert(make_run().path)
    assert code == 2
    assert "is a folder" in err


def test_a_base_of_another_width_is_refused_though_only_its_config_is_there(convert, make_run, base, tmp_path):
    config = {**CONFIG, "hidden_size": 64}
    (base / "config.json").write_text(json.dumps(config))
    code, _, err = convert(make_run().path)
    assert code == 4
    assert "trained on another base" in err
    assert not list(tmp_path.glob("a.gguf*"))
