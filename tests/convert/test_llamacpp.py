"""The vendored converter as a subprocess: what it is asked, and what becomes of its failures. The script is played."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ggship.bases.model import Base, BaseTensor
from ggship.convert import choose_converter, convert_adapter
from ggship.convert.llamacpp import convert_with_llamacpp
from ggship.errors import AdapterUnusable, BaseMismatch, BaseNotFound, MissingExtra, ToolFailed
from ggship.runner import Completed
from ggship.runs import Run, read_run


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch and transformers seem to be installed: they are looked for, never imported, by ggship itself."""
    for name in ("torch", "transformers"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    (tmp_path / "vendor" / "llama.cpp").mkdir(parents=True)
    (tmp_path / "vendor" / "llama.cpp" / "convert_lora_to_gguf.py").write_text("")
    lock = {"name": "llama.cpp", "commit": "abc", "source": {"package": "p", "version": "1"}, "files": {}}
    (tmp_path / "vendor" / "llama.cpp.lock.json").write_text(json.dumps(lock))
    return tmp_path / "vendor"


@pytest.fixture
def base_with_config(make_base: Callable[..., Base], tmp_path: Path) -> Base:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    return make_base("smollm3", config_dir=tmp_path / "base")


class PlayedScript:
    """Takes the script's place: remembers how it was called, and converts as a qwen2 adapter, or fails."""

    def __init__(self, make_base: Callable[..., Base], status: int = 0, output: str = "", drop: bool = False) -> None:
        self.base, self.status, self.output, self.drop = make_base("qwen2"), status, output, drop
        self.argv: list[str] = []
        self.read: Run | None = None

    def __call__(self, argv, *, cwd=None, env=None, timeout=None):
        self.argv, self.env, self.timeout = list(argv), dict(env), timeout
        self.read = read_run(Path(argv[-1]))
        self.tensors = dict(self.read.tensors)
        if self.status == 0:
            run = self.read
            if self.drop:
                fields = {field: getattr(run, field) for field in Run.__slots__}
                run = Run(**{**fields, "modules": run.modules[1:]})
            convert_adapter(run, Path(argv[argv.index("--outfile") + 1]), base=self.base)
        return Completed(tuple(argv), self.status, self.output)


@pytest.mark.usefixtures("installed")
def test_the_script_is_asked_for_the_base_the_type_and_the_run(make_run, make_base, base_with_config, vendor, tmp_path):
    script, run, seen = PlayedScript(make_base), make_run(), []
    trained, pairs, version = convert_with_llamacpp(
        run,
        tmp_path / "a.gguf",
        base=base_with_config,
        outtype="bf16",
        runner=script,
        log=tmp_path / "a.log",
        on_tensor=lambda done, total: seen.append((done, total)),
        vendor=vendor,
    )
    assert (trained, pairs) == (True, 14)
    assert version.startswith("llama.cpp abc")
    assert seen == [(28, 28)]
    assert script.argv[0] == sys.executable
    assert script.argv[1] == str(vendor / "llama.cpp" / "convert_lora_to_gguf.py")
    assert script.argv[script.argv.index("--base") + 1] == str(base_with_config.config_dir)
    assert script.argv[script.argv.index("--outtype") + 1] == "bf16"
    assert script.argv[-1] == str(run.path)
    assert script.timeout
    assert script.env["HF_HUB_OFFLINE"] == "1"
    assert not (tmp_path / "a.log").exists()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("config", [{"use_rslora": True}, {"alpha_pattern": {"q_proj": 3}}])
def test_scales_that_the_script_ignores_reach_it_folded(
    config, make_run, make_base, base_with_config, vendor, tmp_path, read_gguf
):
    run = make_run(**config)
    convert_adapter(run, tmp_path / "native.gguf", base=make_base("qwen2"))
    script = PlayedScript(make_base)
    convert_with_llamacpp(
        run, tmp_path / "a.gguf", base=base_with_config, outtype="f32", runner=script, log=tmp_path / "l", vendor=vendor
    )
    assert script.read is not None
    assert not script.read.config["use_rslora"]
    assert not script.read.config["alpha_pattern"]
    assert Path(script.argv[-1]).name == run.path.name
    assert not Path(script.argv[-1]).exists()
    _, ours = read_gguf(tmp_path / "native.gguf")
    _, theirs = read_gguf(tmp_path / "a.gguf")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor, theirs[name])


@pytest.mark.usefixtures("installed")
def test_names_of_raw_dumps_reach_it_as_peft_writes_them(
    make_run, make_base, base_with_config, vendor, tensors, tmp_path
):
    run = make_run({name.replace(".weight", ".default.weight"): tensor for name, tensor in tensors.items()})
    script = PlayedScript(make_base)
    convert_with_llamacpp(
        run, tmp_path / "a.gguf", base=base_with_config, outtype="f32", runner=script, log=tmp_path / "l", vendor=vendor
    )
    assert set(script.tensors) == set(tensors)


@pytest.mark.usefixtures("installed")
def test_its_failure_shows_its_last_lines_and_keeps_the_log(make_run, make_base, base_with_config, vendor, tmp_path):
    output = "\n".join(f"line {number}" for number in range(100)) + "\nValueError: Can not map tensor"
    with pytest.raises(ToolFailed) as error:
        convert_with_llamacpp(
            make_run(),
            tmp_path / "a.gguf",
            base=base_with_config,
            outtype="f32",
            runner=PlayedScript(make_base, status=1, output=output),
            log=tmp_path / "a.gguf.log",
            vendor=vendor,
        )
    assert "Can not map tensor" in error.value.where
    assert "line 3\n" not in error.value.where
    assert str(tmp_path / "a.gguf.log") in error.value.where
    assert (tmp_path / "a.gguf.log").read_text() == output


@pytest.mark.usefixtures("installed")
def test_a_pair_that_it_drops_in_silence_is_noticed(make_run, make_base, base_with_config, vendor, tmp_path):
    with pytest.raises(ToolFailed, match="left out") as error:
        convert_with_llamacpp(
            make_run(),
            tmp_path / "a.gguf",
            base=base_with_config,
            outtype="f32",
            runner=PlayedScript(make_base, drop=True),
            log=tmp_path / "l",
            vendor=vendor,
        )
    assert "14 pairs in the run, 13 whole pairs" in error.value.where


@pytest.mark.usefixtures("installed")
def test_nan_is_found_before_it_starts(make_run, make_base, base_with_config, vendor, tensors, tmp_path):
    next(iter(tensors.values()))[0, 0] = np.nan
    script = PlayedScript(make_base)
    with pytest.raises(AdapterUnusable, match="none"):
        convert_with_llamacpp(
            make_run(tensors),
            tmp_path / "a.gguf",
            base=base_with_config,
            outtype="f32",
            runner=script,
            log=tmp_path / "l",
            vendor=vendor,
        )
    assert script.argv == []


def test_without_torch_the_error_is_the_line_to_install_it(make_run, base_with_config, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra) as error:
        convert_adapter(make_run(), tmp_path / "a.gguf", base=base_with_config)
    assert error.value.hint == "pip install 'ggship[hf]'"
    assert not list(tmp_path.glob("a.gguf*"))


@pytest.mark.usefixtures("installed")
def test_without_a_config_json_it_says_what_to_pass(make_run, make_base, tmp_path):
    with pytest.raises(BaseNotFound) as error:
        convert_adapter(make_run(), tmp_path / "a.gguf", base=make_base("smollm3"))
    assert "--base DIR" in error.value.hint


def test_auto_takes_the_native_one_where_it_knows_the_base(make_run, make_base, tmp_path):
    run = make_run()
    assert choose_converter(run, make_base("llama"))[0] == "native"
    chosen, why = choose_converter(run, make_base("smollm3"))
    assert chosen == "llamacpp"
    assert "smollm3" in why
    assert choose_converter(run, make_base("llama"), "llamacpp")[0] == "llamacpp"
    (tmp_path / "config.json").write_text('{"architectures": ["Llama4ForCausalLM"]}')
    assert choose_converter(run, make_base("llama", config_dir=tmp_path))[0] == "llamacpp"


def test_auto_leaves_glm4_with_mrope_to_the_script(make_run, make_base):
    base = make_base("glm4", metadata={"glm4.rope.dimension_sections": [1, 2, 3]})
    assert choose_converter(make_run(), base)[0] == "llamacpp"


@pytest.mark.usefixtures("installed")
def test_a_base_that_it_does_not_fit_is_found_before_it_starts(make_run, make_base, base_with_config, vendor, tmp_path):
    sizes = {f"smollm3.{key}": value for key, value in {"block_count": 2, "attention.head_count": 4}.items()}
    wider = {"token_embd.weight": (96, 64), "blk.0.attn_q.weight": (64, 64)}
    tensors = {name: BaseTensor(name, shape, "F16") for name, shape in wider.items()}
    base = make_base("smollm3", config_dir=base_with_config.config_dir, metadata=sizes)
    script = PlayedScript(make_base)
    with pytest.raises(BaseMismatch):
        convert_with_llamacpp(
            make_run(),
            tmp_path / "a.gguf",
            base=replace(base, tensors=tensors),
            outtype="f32",
            runner=script,
            log=tmp_path / "l",
            vendor=vendor,
        )
    assert script.argv == []


@pytest.mark.usefixtures("installed")
def test_the_log_of_a_failure_is_kept_where_it_was_wanted(make_run, make_base, base_with_config, tmp_path):
    script, log = PlayedScript(make_base, status=1, output="all that it said"), tmp_path / "kept" / "model.gguf.log"
    with pytest.raises(ToolFailed) as failed:
        convert_adapter(make_run(), tmp_path / "a.gguf", base=base_with_config, runner=script, log=log)
    assert str(log) in failed.value.where
    assert log.read_text() == "all that it said"
