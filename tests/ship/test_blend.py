"""Several runs as one model, through the front door."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import validate

from ggship.package import read_package
from ggship.settings import templates_dir
from ggship.verify import verify_package


@pytest.fixture
def tone(shop, tiny_run) -> Path:
    """A second run, of another rank and scale."""
    return tiny_run(shop.root / "tone", seed=2, lora_alpha=3, use_rslora=True)


def command(shop, *arguments):
    common = ("--base", shop.base, "--host", shop.server.url, "--out", shop.root / "out" / "law", "--no-eval")
    return shop.ggship("package", *arguments, "--name", "law", *common)


def test_two_runs_become_one_proven_model_and_the_package_says_of_what(shop, tone, capsys):
    assert command(shop, f"{shop.run}@0.7", f"{tone}@-0.5", "--scale", "2") == 0
    info = read_package(shop.root / "out" / "law")
    run = info.document["run"]
    assert "law:latest" in shop.server.models
    assert [(share["name"], share["weight"]) for share in run["shares"]] == [("lora-out", 1.4), ("tone", -1.0)]
    assert [len(share["files"]) for share in run["shares"]] == [1, 1]
    assert run["files"] == run["shares"][0]["files"] + run["shares"][1]["files"]
    assert run["shares"][0]["files"][0]["sha256"] != run["shares"][1]["files"][0]["sha256"]
    assert run["ranks"] == [8]
    assert "lora-out@1.4, tone@-1" in info.document["plan"]["reasons"]["blend"]
    assert "tone" in (info.path / "README.md").read_text()
    validate(info.document, json.loads((templates_dir() / "schemas/ggship.schema.json").read_text()))
    assert verify_package(info).laws
    assert "lora-out@1.4, tone@-1" in capsys.readouterr().out
    assert command(shop, f"{shop.run}@0.7", f"{tone}@-0.5", "--scale", "2") == 0
    assert "nothing to do" in capsys.readouterr().out


def test_another_weight_is_another_model(shop, tone, capsys):
    digests = set()
    for weight in ("1", "0.5"):
        assert command(shop, shop.run, f"{tone}@{weight}") == 0
        digests.add(read_package(shop.root / "out" / "law").document["adapter"]["sha256"])
    assert len(digests) == 2


def test_dry_run_shows_the_blend_and_writes_nothing(shop, tone, capsys):
    assert command(shop, shop.run, tone, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert "lora-out, tone" in plan["reasons"]["blend"]
    assert not (shop.root / "out").exists()


@pytest.mark.parametrize(
    ("weight", "code", "said"),
    [
        ("@0", 2, "leave that run out"),
        ("@nan", 2, "finite"),
        ("@much", 2, "'much' is no weight"),
        ("@@", 1, "no such directory"),
    ],
)
def test_junk_for_a_weight_is_a_usage_error(shop, weight, code, said, capsys):
    assert command(shop, f"{shop.run}{weight}") == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["0", "nan", "inf", "x"])
def test_junk_for_a_scale_is_a_usage_error(shop, scale, capsys):
    assert command(shop, shop.run, "--scale", scale) == 2
    assert capsys.readouterr().err


def test_a_dora_run_cannot_be_half_of_something(shop, tiny_run, tone, capsys):
    from safetensors.numpy import load_file, save_file

    file = tone / "adapter_model.safetensors"
    stems = {name.partition(".lora_B")[0]: array for name, array in load_file(file).items() if ".lora_B" in name}
    lengths = {f"{stem}.lora_magnitude_vector": np.ones(len(b), np.float32) for stem, b in stems.items()}
    save_file({**load_file(file), **lengths}, file)
    config = json.loads((tone / "adapter_config.json").read_text())
    (tone / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    assert command(shop, shop.run, f"{tone}@0.5") == 4
    said = capsys.readouterr().err
    assert "[GS316]" in said
    assert "tone@0.5" in said


def test_convert_and_merge_take_several_runs_too(shop, tone, capsys):
    both = (f"{shop.run}@0.7", tone, "--base", shop.base)
    assert shop.ggship("convert", *both, "--out", shop.root / "a.gguf") == 0
    assert f"ggship package {shop.run}@0.7 {tone} --name NAME" in capsys.readouterr().out
    assert shop.ggship("merge", *both, "--out", shop.root / "one.gguf") == 0
    assert shop.ggship("merge", shop.root / "a.gguf", "--base", shop.base, "--out", shop.root / "two.gguf") == 0
    assert (shop.root / "one.gguf").read_bytes() == (shop.root / "two.gguf").read_bytes()
    assert shop.ggship("merge", f"{shop.root / 'a.gguf'}@0.5", "--base", shop.base, "--out", shop.root / "b.gguf") == 2
