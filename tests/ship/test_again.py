"""Running it again: what depends on a thing is made again when that thing changes, and nothing else is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from ggship.errors import AdapterUnusable, PromptMismatch
from ggship.plan import PackageOptions
from ggship.runner import Completed
from ggship.runtimes.find import find_runtime
from ggship.ship import package_run


def test_a_second_run_does_nothing_on_both_eras(shop, old_shop):
    for each in (shop, old_shop):
        assert "promote" in each.package().ran
        assert each.package().ran == ()


def test_a_second_run_loads_no_numbers(shop):
    command = ["package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url]
    assert shop.ggship(*command) == 0
    again = [sys.executable, "-X", "importtime", "-m", "ggship", *map(str, command)]
    done = subprocess.run(again, capture_output=True, text=True, check=False)
    assert "nothing to do" in done.stdout, done.stderr
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"numpy", "gguf", "libgguf", "torch", "huggingface_hub"}


def test_what_force_let_through_is_not_let_through_without_it(shop, old_shop, tiny_run):
    for each in (shop, old_shop):
        tiny_run(each.run, trained=False)
        assert each.package(force=True, evaluate=False).ran
        with pytest.raises(AdapterUnusable):
            each.package(evaluate=False)


def test_a_prompt_that_force_let_through_is_proven_without_it(old_shop):
    (old_shop.run / "chat_template.jinja").write_text("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    old_shop.package(force=True, evaluate=False)
    with pytest.raises(PromptMismatch):
        old_shop.package(evaluate=False)


def test_the_adapters_own_metadata_is_part_of_what_it_is_made_of(old_shop):
    old_shop.package(evaluate=False)
    (old_shop.run / "README.md").write_text("---\nlicense: mit\n---\n# Law\n")
    assert "convert" in old_shop.package(evaluate=False).ran
    elsewhere = shutil.copytree(old_shop.run, old_shop.root / "law-lora")  # general.name is the folder's
    old_shop.run = elsewhere
    assert "convert" in old_shop.package(evaluate=False).ran


def test_other_quantizers_make_the_model_again(shop, monkeypatch):
    assert shop.package(evaluate=False).info.document["merge"]["kernels"]
    (shop.root / "llama.cpp").mkdir()
    (shop.root / "llama.cpp" / "libggml-base.so").write_bytes(b"not one that can be loaded")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(shop.root / "llama.cpp"))
    assert "merge" in shop.package(evaluate=False).ran


class Converter:
    """Stands in for the vendored script: writes the tiny base, and counts."""

    def __init__(self, file: Path) -> None:
        self.file, self.calls = file, 0

    def __call__(self, argv, *, cwd=None, env=None, timeout=None):
        self.calls += 1
        shutil.copyfile(self.file, argv[argv.index("--outfile") + 1])
        return Completed(tuple(argv), 0, "")


@pytest.fixture
def directory(shop, base_config, monkeypatch):
    """The base as a Hugging Face directory; torch and transformers seem to be installed."""
    import json

    import numpy as np
    from safetensors.numpy import save_file

    for name in ("torch", "transformers"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    folder = shop.root / "Tiny-Llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(base_config))
    save_file({"model.embed_tokens.weight": np.zeros((96, 64), np.float16)}, folder / "other.safetensors")
    names = {}
    for block in range(2):
        for module, shape in (
            ("self_attn.q_proj", (64, 64)),
            ("self_attn.k_proj", (64, 64)),
            ("self_attn.v_proj", (64, 64)),
            ("self_attn.o_proj", (64, 64)),
            ("mlp.gate_proj", (96, 64)),
            ("mlp.up_proj", (96, 64)),
            ("mlp.down_proj", (64, 96)),
        ):
            names[f"model.layers.{block}.{module}.weight"] = np.zeros(shape, np.float16)
    names["model.embed_tokens.weight"] = np.zeros((96, 64), np.float16)
    names["lm_head.weight"] = np.zeros((96, 64), np.float16)
    save_file(names, folder / "model.safetensors")
    return folder


def test_a_directory_is_not_converted_again_for_nothing(shop, directory, own_state):
    converter = Converter(shop.base)
    options = PackageOptions(shop.run, "law", base=str(directory), out=shop.root / "out", host=shop.server.url)

    def package():
        return package_run(options, runtime=find_runtime("ollama", shop.server.url), runner=converter)

    assert "merge" in package().ran
    assert converter.calls == 1
    shutil.rmtree(own_state / "cache" / "bases")
    assert package().ran == ()
    assert converter.calls == 1
