"""Several runs as one model, through the front door."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
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


def test_what_is_found_on_every_run_of_it_is_said_once(shop, tone, capsys):
    for run in (shop.run, tone):
        config = json.loads((run / "adapter_config.json").read_text())
        (run / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": ""}))
    assert command(shop, shop.run, tone, "--dry-run", "--json") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("warning", "note"))]
    codes = [line.split()[1] for line in said]
    assert codes
    assert sorted(set(codes)) == sorted(codes)
    assert any("lora-out, tone: " in line for line in said)


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
        ("@0", 2, "leave it out"),
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
    said = capsys.readouterr().err
    assert "--scale" in said
    assert "RUN@" not in said.replace("RUN[@", "")


def with_dora(run: Path) -> Path:
    from safetensors.numpy import load_file, save_file

    file = run / "adapter_model.safetensors"
    stems = {name.partition(".lora_B")[0]: array for name, array in load_file(file).items() if ".lora_B" in name}
    lengths = {f"{stem}.lora_magnitude_vector": np.full(len(b), 8.0, np.float32) for stem, b in stems.items()}
    save_file({**load_file(file), **lengths}, file)
    config = json.loads((run / "adapter_config.json").read_text())
    (run / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    return run


@pytest.mark.parametrize("weight", ["", "@0.5"])
def test_a_dora_run_cannot_be_half_of_something(shop, tone, weight, capsys):
    with_dora(tone)
    assert command(shop, shop.run, f"{tone}{weight}") == 4
    said = capsys.readouterr().err
    assert "[GS316]" in said
    assert ("it has no 0.5 times" if weight else "lora-out changes it too") in said
    assert "and 11 more tensors" in said


def test_a_dora_run_alone_has_no_half_either(shop, tone, capsys):
    with_dora(tone)
    assert command(shop, tone, "--scale", "0.5") == 4
    assert "it has no 0.5 times" in capsys.readouterr().err


def only(run: Path, *, without: str = "", keep: str = "") -> Path:
    """Leave some modules of the run out."""
    from safetensors.numpy import load_file, save_file

    file = run / "adapter_model.safetensors"
    kept = {
        name: array for name, array in load_file(file).items() if keep in name and not (without and without in name)
    }
    save_file(kept, file)
    return run


def test_dora_and_a_plain_run_on_other_modules_are_both_whole(shop, tone, capsys):
    """Attention by DoRA as it would be alone, the feed-forward half of a plain run: no tensor is changed by both."""
    from ggship.gguf.reader import read_gguf

    dora, plain = only(with_dora(tone), keep="self_attn"), only(shop.run, keep="mlp")
    assert command(shop, f"{plain}@0.5", dora, "--quant", "F16") == 0
    info = read_package(shop.root / "out" / "law")
    assert info.document["plan"]["route"] == "updates"
    assert info.document["merge"]["merged"] == 14
    assert info.document["plan"]["merged"][0].startswith("tone: DoRA")
    assert command(shop, f"{plain}@0.5", dora, "--quant", "F16") == 0
    assert "nothing to do" in capsys.readouterr().out
    alone = {}
    for name, run, scale in (("dora", dora, "1"), ("plain", plain, "0.5")):
        out = shop.root / f"{name}.gguf"
        arguments = ("merge", run, "--scale", scale, "--base", shop.base, "--out", out, "--quant", "F16")
        assert shop.ggship(*arguments) == 0
        alone[name] = content(read_gguf(out))
    for tensor, numbers in content(read_gguf(info.path / "model.f16.gguf")).items():
        assert numbers == alone["dora" if "attn" in tensor else "plain"][tensor], tensor


def test_methods_whose_update_is_added_have_a_sum(shop, tone, tmp_path):
    """AdaLoRA's update is a product of low rank too: W + 0.5 of the one + 2 of the other."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(5)
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {"lora_A": (3, 64), "lora_B": (64, 3), "lora_E": (3, 1)}
    numbers = {f"{stem}.{part}": rng.standard_normal(shape).astype(np.float32) for part, shape in shapes.items()}
    (tmp_path / "ada").mkdir()
    save_file(numbers, tmp_path / "ada" / "adapter_model.safetensors")
    config = {"peft_type": "ADALORA", "r": 3, "lora_alpha": 6, "base_model_name_or_path": "org/Tiny-Llama"}
    (tmp_path / "ada" / "adapter_config.json").write_text(json.dumps(config))

    def merged(*runs: object) -> np.ndarray:
        assert shop.ggship("merge", *runs, "--base", shop.base, "--out", tmp_path / "m.gguf", "--quant", "F32") == 0
        (found,) = (each for each in gguf.GGUFReader(tmp_path / "m.gguf").tensors if each.name == "blk.0.attn_q.weight")
        return np.array(found.data, np.float64)

    (held,) = (each for each in gguf.GGUFReader(shop.base).tensors if each.name == "blk.0.attn_q.weight")
    base = np.array(held.data, np.float64)
    wanted = base + 0.5 * (merged(shop.run) - base) + 2 * (merged(tmp_path / "ada") - base)
    np.testing.assert_allclose(merged(f"{shop.run}@0.5", f"{tmp_path / 'ada'}@2"), wanted, atol=2e-5)


def content(file):
    with file.path.open("rb") as source:
        found = {}
        for tensor in file.tensors:
            source.seek(tensor.offset)
            found[tensor.name] = source.read(tensor.nbytes)
        return found


def test_convert_and_merge_take_several_runs_too(shop, tone, capsys):
    both = (f"{shop.run}@0.7", tone, "--base", shop.base)
    assert shop.ggship("convert", *both, "--out", shop.root / "a.gguf") == 0
    assert f"ggship package {shop.run}@0.7 {tone} --name NAME" in capsys.readouterr().out
    assert shop.ggship("merge", *both, "--out", shop.root / "one.gguf") == 0
    assert shop.ggship("merge", shop.root / "a.gguf", "--base", shop.base, "--out", shop.root / "two.gguf") == 0
    assert (shop.root / "one.gguf").read_bytes() == (shop.root / "two.gguf").read_bytes()
    assert shop.ggship("merge", f"{shop.root / 'a.gguf'}@0.5", "--base", shop.base, "--out", shop.root / "b.gguf") == 2
