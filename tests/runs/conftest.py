"""Handmade runs: safetensors written with struct alone, so that no library stands between test and reader."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1}


def safetensors(tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file, each number of it the same, none zero. tensors: name -> (dtype, shape)."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = SIZES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + (b"\x01\x3c" * at)[:at]


def llama_tensors(layers: int = 2, rank: int = 8, width: int = 16) -> dict[str, tuple[str, tuple[int, ...]]]:
    """q_proj and v_proj of a tiny llama: v has half the outputs, as with grouped heads."""
    result = {}
    for layer in range(layers):
        for name, out in (("q_proj", width), ("v_proj", width // 2)):
            stem = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            result[f"{stem}.lora_A.weight"] = ("F32", (rank, width))
            result[f"{stem}.lora_B.weight"] = ("F32", (out, rank))
    return result


@dataclass
class RunMaker:
    """Writes adapters, checkpoints and trainer states below one directory."""

    root: Path
    config: dict[str, Any] = field(
        default_factory=lambda: {
            "peft_type": "LORA",
            "base_model_name_or_path": "org/tiny",
            "r": 8,
            "lora_alpha": 16,
            "task_type": "CAUSAL_LM",
        }
    )

    def adapter(
        self,
        directory: str = ".",
        tensors: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
        file: str = "adapter_model.safetensors",
        **config: Any,
    ) -> Path:
        """One adapter; `config` overrides fields, and `...` takes a field away."""
        path = self.root / directory
        path.mkdir(parents=True, exist_ok=True)
        fields = {key: value for key, value in {**self.config, **config}.items() if value is not ...}
        (path / "adapter_config.json").write_text(json.dumps(fields))
        (path / file).write_bytes(safetensors(llama_tensors() if tensors is None else tensors))
        return path

    def write(self, name: str, content: str | bytes | Mapping[str, Any]) -> Path:
        """One file: text, bytes, or an object as JSON."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def trained(self, directory: str, steps: list[int], best: str | None = None, **more: Any) -> None:
        """A trainer_state.json with a falling loss at every step and an eval loss at it."""
        history: list[dict[str, Any]] = []
        for step in steps:
            history.append({"step": step, "loss": 100 / step, **more})
            history.append({"step": step, "eval_loss": 200 / step, **more})
        state = {"global_step": steps[-1], "best_model_checkpoint": best, "log_history": history}
        self.write(f"{directory}/trainer_state.json", state)


@pytest.fixture
def run_maker(tmp_path: Path) -> RunMaker:
    root = tmp_path / "lora-out"
    root.mkdir()
    return RunMaker(root)


@pytest.fixture
def make_safetensors() -> Any:
    return safetensors


@pytest.fixture
def tiny_tensors() -> Any:
    return llama_tensors
