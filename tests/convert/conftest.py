"""Tiny runs and bases, written by hand with numpy: what the converter reads, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggship.bases.model import Base
from ggship.runs import Run, read_run

HIDDEN, FFN, HEADS, KV_HEADS, RANK, BLOCKS = 32, 48, 4, 2, 4, 2
PREFIX = "base_model.model."

LINEARS = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN // 2, HIDDEN),
    "self_attn.v_proj": (HIDDEN // 2, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (FFN, HIDDEN),
    "mlp.up_proj": (FFN, HIDDEN),
    "mlp.down_proj": (HIDDEN, FFN),
}


def write_run(
    folder: Path, tensors: Mapping[str, np.ndarray], *, metadata: Mapping[str, str] | None = None, **config: Any
) -> Run:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    values = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "task_type": "CAUSAL_LM", "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    save_file(dict(tensors), folder / "adapter_model.safetensors", metadata=dict(metadata or {"format": "pt"}))
    return read_run(folder)


def make_tensors(
    *, dtype: Any = np.float32, seed: int = 0, ranks: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    tensors = {}
    for block in range(BLOCKS):
        for name, (rows, columns) in LINEARS.items():
            rank = (ranks or {}).get(name, RANK)
            module = f"{PREFIX}model.layers.{block}.{name}"
            tensors[f"{module}.lora_A.weight"] = rng.standard_normal((rank, columns)).astype(dtype)
            tensors[f"{module}.lora_B.weight"] = rng.standard_normal((rows, rank)).astype(dtype)
    return tensors


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    return make_tensors()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    def make(tensors: Mapping[str, np.ndarray] | None = None, *, name: str = "law-lora", **config: Any) -> Run:
        return write_run(tmp_path / name, make_tensors() if tensors is None else tensors, **config)

    return make


@pytest.fixture
def llama() -> Base:
    return make_base("llama")


def make_base(architecture: str, **metadata: Any) -> Base:
    return Base(
        ref="base.gguf",
        architecture=architecture,
        found="made for a test",
        gguf=Path("base.gguf"),
        metadata={
            "general.architecture": architecture,
            f"{architecture}.block_count": BLOCKS,
            f"{architecture}.attention.head_count": HEADS,
            f"{architecture}.attention.head_count_kv": KV_HEADS,
            **metadata,
        },
    )
