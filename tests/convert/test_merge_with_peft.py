"""The merge by PEFT as a subprocess: what it is told, and what becomes of its answers. The child is played."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ggship.convert.peft import PeftNeeds, merge_with_peft, peft_needs
from ggship.errors import BaseNotFound, MissingExtra, NotExpressible, ToolFailed, UsageError
from ggship.runner import Completed

DONE = {
    "weights": 21,
    "changed": ["model.layers.0.self_attn.q_proj.weight"],
    "effect": 0.5,
    "difference": 1e-6,
    "untied": True,
    "vocabulary": 96,
    "versions": {"peft": "0.21", "transformers": "5", "torch": "2"},
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch, transformers and PEFT seem to be installed: they are looked for, never imported, by ggship itself."""
    for name in ("torch", "transformers", "peft"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def base_dir(tmp_path: Path) -> Path:
    from safetensors.numpy import save_file

    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    weights = {
        "model.embed_tokens.weight": np.zeros((96, 32), np.float16),
        "lm_head.weight": np.zeros((96, 32), np.float16),
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


class PlayedChild:
    """Takes the child's place: remembers what it was told, and leaves a folder and a result, or fails."""

    def __init__(self, result: dict[str, Any] | None = None, status: int = 0, output: str = "") -> None:
        self.result, self.status, self.output = result, status, output
        self.spec: dict[str, Any] = {}

    def __call__(self, argv, *, cwd=None, env=None, timeout=None):
        self.argv, self.cwd, self.env, self.timeout = list(argv), cwd, dict(env), timeout
        self.spec = json.loads(Path(argv[-1]).read_text())
        assert cwd.is_dir()
        if self.result is not None:
            if "refused" not in self.result:
                Path(self.spec["out"]).mkdir()
                (Path(self.spec["out"]) / "model.safetensors").write_bytes(b"merged")
            Path(self.spec["result"]).write_text(json.dumps(self.result))
        return Completed(tuple(argv), self.status, self.output)


@pytest.mark.usefixtures("installed")
def test_the_child_is_told_of_base_adapter_and_type_and_nothing_is_downloaded(make_run, base_dir, tmp_path):
    child, run = PlayedChild(DONE), make_run()
    merge = merge_with_peft(run, base_dir, tmp_path / "out" / "merged", runner=child, timeout=99)

    assert child.argv[:3] == [sys.executable, "-m", "ggship.convert.peft_child"]
    assert child.timeout == 99
    assert child.env["HF_HUB_OFFLINE"] == child.env["TRANSFORMERS_OFFLINE"] == "1"
    assert (child.spec["base"], child.spec["gguf_file"], child.spec["dtype"]) == (str(base_dir), None, "float32")
    assert child.spec["tensors"] == [str(run.path / "adapter_model.safetensors")]
    assert merge.folder == tmp_path / "out" / "merged"
    assert (merge.folder / "model.safetensors").read_bytes() == b"merged"
    assert merge.changed == ("model.layers.0.self_attn.q_proj.weight",)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["merged"]


@pytest.mark.usefixtures("installed")
def test_a_gguf_base_is_named_as_the_file_it_is(make_run, tmp_path):
    (tmp_path / "base.gguf").write_bytes(b"GGUF")
    child = PlayedChild(DONE)
    merge_with_peft(make_run(), tmp_path / "base.gguf", tmp_path / "merged", runner=child)
    assert (child.spec["base"], child.spec["gguf_file"]) == (str(tmp_path), "base.gguf")


@pytest.mark.usefixtures("installed")
def test_what_would_come_out_wrong_is_refused_with_the_reason(make_run, base_dir, tmp_path):
    told = {"code": "merged-differs", "what": "the merged model answers otherwise", "where": "by 5.5 nats"}
    with pytest.raises(NotExpressible, match="answers otherwise") as error:
        merge_with_peft(make_run(), base_dir, tmp_path / "merged", runner=PlayedChild({"refused": told}))
    assert (error.value.exit_code, error.value.code, error.value.where) == (4, "merged-differs", "by 5.5 nats")
    assert error.value.hint
    assert not (tmp_path / "merged").exists()


@pytest.mark.usefixtures("installed")
def test_its_failure_shows_its_last_lines_and_keeps_the_log(make_run, base_dir, tmp_path):
    output = "\n".join(f"line {number}" for number in range(100)) + "\nOSError: no space left"
    with pytest.raises(ToolFailed) as error:
        merge_with_peft(
            make_run(),
            base_dir,
            tmp_path / "merged",
            runner=PlayedChild(status=1, output=output),
            log=tmp_path / "logs" / "peft.log",
        )
    assert "no space left" in error.value.where
    assert "line 3\n" not in error.value.where
    assert (tmp_path / "logs" / "peft.log").read_text() == output
    assert not list(tmp_path.glob("*merged*"))


@pytest.mark.usefixtures("installed")
def test_a_killed_child_is_said_to_have_lacked_memory(make_run, base_dir, tmp_path):
    with pytest.raises(ToolFailed, match="killed") as error:
        merge_with_peft(make_run(), base_dir, tmp_path / "merged", runner=PlayedChild(status=-9))
    assert "memory" in error.value.hint


@pytest.mark.usefixtures("installed")
def test_a_folder_with_something_in_it_is_left_alone(make_run, base_dir, tmp_path):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine").write_text("kept")
    with pytest.raises(UsageError):
        merge_with_peft(make_run(), base_dir, tmp_path / "merged", runner=PlayedChild(DONE))
    assert (tmp_path / "merged" / "mine").read_text() == "kept"


@pytest.mark.usefixtures("installed")
def test_without_the_weights_it_says_what_to_pass(make_run, base_dir, tmp_path):
    (base_dir / "model.safetensors").unlink()
    with pytest.raises(BaseNotFound) as error:
        merge_with_peft(make_run(), base_dir, tmp_path / "merged", runner=PlayedChild(DONE))
    assert "--base DIRECTORY" in error.value.hint


def test_without_peft_the_error_is_the_line_to_install_it(make_run, base_dir, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra) as error:
        merge_with_peft(make_run(), base_dir, tmp_path / "merged", runner=PlayedChild(DONE))
    assert error.value.hint == "pip install 'ggship[hf]'"


def test_what_it_takes_is_known_before(make_run, base_dir):
    run = make_run()
    weights, adapter = 2 * 96 * 32, sum(np.prod(tensor.shape) for tensor in run.tensors.values())
    whole = peft_needs(run, base_dir)
    half = peft_needs(run, base_dir, dtype="bfloat16", outtype="bf16")
    assert isinstance(whole, PeftNeeds)
    assert whole.disk == 8 * weights + 4 * adapter
    assert half.disk == 4 * weights + 4 * adapter
    assert whole.memory - half.memory == 2 * weights + 2 * 2 * 96 * 32
    with pytest.raises(UsageError):
        peft_needs(run, base_dir, dtype="int4")


@pytest.mark.parametrize(
    ("kind", "code"), [("PSOFT", "recomputed"), ("LILY", "unmergeable"), ("METHOD_OF_TOMORROW", "not-proven")]
)
def test_a_method_that_peft_does_not_rebuild_is_refused_before_anything_runs(kind, code, make_run, base_dir, tmp_path):
    child = PlayedChild(DONE)
    with pytest.raises(NotExpressible) as error:
        merge_with_peft(make_run(peft_type=kind), base_dir, tmp_path / "merged", runner=child)
    assert error.value.code == code
    assert kind in error.value.where
    assert error.value.hint
    assert child.spec == {}
