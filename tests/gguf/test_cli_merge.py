"""`ggship merge` from the front door."""

from __future__ import annotations

import json

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.gguf.reader import read_gguf


@pytest.fixture
def files(models, adapter, tmp_path):
    model = models.Model("llama", 1, width=64, ffn=64)
    return model.write(tmp_path / "base.gguf"), adapter(model), tmp_path / "out.gguf"


def ggship(*arguments):
    return run(cli, ["merge", *map(str, arguments)])


def test_an_adapter_file_is_merged_and_the_summary_says_what_is_left(files, capsys):
    base, lora, out = files
    assert ggship(lora, "--base", base, "--out", out, "--quant", "q8_0") == 0
    printed = capsys.readouterr().out
    assert "7 of 7 pairs, stored as Q8_0" in printed
    assert "after quantization" in printed
    assert read_gguf(out).get("general.file_type") == 7


def test_json_is_one_document(files, capsys):
    base, lora, out = files
    assert ggship(lora, "--base", base, "--out", out, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["merged"] == document["pairs"] == len(document["tensors"]) == 7
    assert document["survival"] == pytest.approx(1, abs=0.01)
    assert document["path"] == str(out)


def test_exit_codes_and_no_half_written_file(models, files, tmp_path, capsys):
    base, lora, out = files
    assert ggship(lora, "--base", base, "--out", out, "--quant", "Q9_9") == 2
    assert "Q4_K_M" in capsys.readouterr().err
    assert ggship(lora, "--base", lora, "--out", out) != 0
    other = models.Model("llama", 1, width=32, ffn=32).write(tmp_path / "other.gguf")
    assert ggship(lora, "--base", other, "--out", out) == 4
    assert "blk.0.attn_q.weight" in capsys.readouterr().err
    assert not out.exists()
    assert not out.with_name("out.gguf.partial").exists()


def test_a_read_only_folder_is_a_clear_error(files, tmp_path, capsys):
    base, lora, _ = files
    (tmp_path / "file").write_text("no folder")
    assert ggship(lora, "--base", base, "--out", tmp_path / "file" / "out.gguf") == 1
    assert "error:" in capsys.readouterr().err
