"""Tiny runs and bases, written by hand with numpy: what the converter reads, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggship.bases.model import Base, BaseTensor
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


def make_tensors(*, seed: int = 0, ranks: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    tensors = {}
    for block in range(BLOCKS):
        for name, (rows, columns) in LINEARS.items():
            rank = (ranks or {}).get(name, RANK)
            module = f"{PREFIX}model.layers.{block}.{name}"
            tensors[f"{module}.lora_A.weight"] = rng.standard_normal((rank, columns)).astype(np.float32)
            tensors[f"{module}.lora_B.weight"] = rng.standard_normal((rows, rank)).astype(np.float32)
    return tensors


def write_run(folder: Path, tensors: Mapping[str, np.ndarray], **config: Any) -> Run:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    values = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "task_type": "CAUSAL_LM", "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    save_file(dict(tensors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return read_run(folder)


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """The tensors of a LoRA on every linear layer of a two-layer llama."""
    return make_tensors()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """make_run(tensors=None, *, name, **adapter_config): the run, written and read."""

    def make(tensors: Mapping[str, np.ndarray] | None = None, *, name: str = "law-lora", **config: Any) -> Run:
        ranks = config.pop("ranks", None)
        return write_run(tmp_path / name, make_tensors(ranks=ranks) if tensors is None else tensors, **config)

    return make


@pytest.fixture
def make_base() -> Callable[..., Base]:
    """make_base(architecture="llama", tensors=False): a base as a GGUF file describes it, its tensors known or not."""

    def make(architecture: str = "llama", *, tensors: bool = False, **fields: Any) -> Base:
        shapes = {"token_embd.weight": (96, HIDDEN)}
        names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
        for block in range(BLOCKS):
            for name, shape in zip(names, LINEARS.values(), strict=True):
                shapes[f"blk.{block}.{name}.weight"] = shape
        metadata = {
            "general.architecture": architecture,
            f"{architecture}.block_count": BLOCKS,
            f"{architecture}.attention.head_count": HEADS,
            f"{architecture}.attention.head_count_kv": KV_HEADS,
        }
        known = {name: BaseTensor(name, shape, "F16") for name, shape in shapes.items()} if tensors else {}
        return Base(
            **{"ref": "base.gguf", "found": "made for a test", "gguf": Path("base.gguf"), "metadata": metadata}
            | {"architecture": architecture, "tensors": known}
            | fields
        )

    return make


@pytest.fixture
def read_gguf() -> Callable[[Path], tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """read_gguf(path): (key/values, tensors as float32 arrays of numpy's shape)."""
    from gguf import GGUFReader, dequantize

    def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        return fields, {t.name: np.array(dequantize(t.data, t.tensor_type)) for t in reader.tensors}

    return read
