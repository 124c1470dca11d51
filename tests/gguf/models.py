"""Small GGUF models of several architectures, for the tests and for recording what llama-quantize makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from ggship.gguf.reader import GgufFile, TensorInfo
from ggship.gguf.types import GgmlType
from ggship.gguf.values import encode


@dataclass(frozen=True)
class Model:
    """A model by its numbers. layers hold the tensors `layer` names; shapes are [out_features, in_features]."""

    arch: str
    layers: int
    width: int = 256
    ffn: int = 512
    heads: int = 8
    kv_heads: int = 4
    vocab: int = 64
    tied: bool = True
    layer: tuple[str, ...] = (
        "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
    )  # fmt: skip
    experts: int = 0
    extra: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def shape(self, kind: str) -> tuple[int, ...]:
        kv = self.width * self.kv_heads // self.heads
        ffn, width = self.ffn, self.width
        return {
            "attn_q": (width, width), "attn_k": (kv, width), "attn_v": (kv, width), "attn_output": (width, width),
            "attn_qkv": (width + 2 * kv, width), "ffn_gate": (ffn, width), "ffn_up": (ffn, width),
            "ffn_down": (width, ffn), "ffn_gate_inp": (self.experts, width),
            "ffn_gate_exps": (self.experts, ffn, width),
            "ffn_up_exps": (self.experts, ffn, width), "ffn_down_exps": (self.experts, width, ffn),
        }.get(kind, (width,))  # fmt: skip

    def shapes(self) -> dict[str, tuple[int, ...]]:
        found = {"token_embd.weight": (self.vocab, self.width)}
        for number in range(self.layers):
            for kind in self.layer:
                name = f"blk.{number}.{kind}"
                if kind.endswith(".bias"):
                    found[name] = self.shape(kind.removesuffix(".bias"))[:1]
                else:
                    found[f"{name}.weight"] = self.shape(kind)
        found["output_norm.weight"] = (self.width,)
        if not self.tied:
            found["output.weight"] = (self.vocab, self.width)
        return found | dict(self.extra)

    def keys(self) -> dict[str, Any]:
        head = self.width // self.heads
        numbers: dict[str, Any] = {
            "context_length": 128, "embedding_length": self.width, "block_count": self.layers,
            "feed_forward_length": self.ffn, "attention.head_count": self.heads,
            "attention.head_count_kv": self.kv_heads, "attention.layer_norm_rms_epsilon": 1e-5,
            "attention.layer_norm_epsilon": 1e-5, "attention.key_length": head, "attention.value_length": head,
            "attention.sliding_window": 64, "rope.dimension_count": head, "rope.freq_base": 10000.0,
            "vocab_size": self.vocab,
        }  # fmt: skip
        if self.experts:
            numbers |= {"expert_count": self.experts, "expert_used_count": 2, "expert_feed_forward_length": self.ffn}
        return {f"{self.arch}.{key}": value for key, value in numbers.items()} | dict(self.metadata)

    def header(self) -> GgufFile:
        """What read_gguf gives of the written file, with no file and no data."""
        tensors = tuple(
            TensorInfo(name, shape, GgmlType.F32 if len(shape) == 1 else GgmlType.F16, 0, 0)
            for name, shape in self.shapes().items()
        )
        keys = {"general.architecture": self.arch, **self.keys()}
        metadata = {key: encode(value) for key, value in keys.items()}
        return GgufFile(Path("header"), 0, 3, 32, 0, metadata, tensors)

    def write(self, path: Path, kind: str = "F16", *, seed: int = 0, scale: float = 0.05) -> Path:
        """Write it with weights of that type (norms and biases F32), random from the seed."""
        rng = np.random.default_rng(seed)
        writer = gguf.GGUFWriter(path, self.arch)
        writer.add_file_type({"F32": 0, "F16": 1, "BF16": 32}.get(kind, 7))
        for key, value in self.keys().items():
            add_key(writer, key, value)
        for name, shape in self.shapes().items():
            values = (rng.standard_normal(shape) * scale).astype(np.float32)
            add_tensor(writer, name, values, "F32" if len(shape) == 1 else kind)
        return finish(writer)


def add_key(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def add_tensor(writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: str) -> None:
    """Add float32 values as a type of that name."""
    type_ = gguf.GGMLQuantizationType[kind]
    if kind in ("F32", "F16"):
        writer.add_tensor(name, np.ascontiguousarray(values, {"F32": np.float32, "F16": np.float16}[kind]))
        return
    try:
        data = gguf.quants.quantize(values, type_)
    except NotImplementedError:
        import libgguf

        data = libgguf.quantize_rows(values, int(type_))
    writer.add_tensor(name, data.view(np.uint8), raw_dtype=type_)


def finish(writer: gguf.GGUFWriter) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(writer.path)


def write_adapter(
    path: Path,
    arch: str,
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    alpha: float | None = 16.0,
    kind: str = "F32",
    keys: Mapping[str, Any] | None = None,
) -> Path:
    """A LoRA adapter: base tensor -> (A [r, in_features], B [out_features, r])."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type("adapter")
    for key, value in ({"adapter.type": "lora"} | dict(keys or {})).items():
        add_key(writer, key, value)
    if alpha is not None:
        writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in pairs.items():
        add_tensor(writer, f"{name}.lora_a", a, kind)
        add_tensor(writer, f"{name}.lora_b", b, kind)
    return finish(writer)


FUSED = ("attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down")
MOE = (
    "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm",
    "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps",
)  # fmt: skip
QWEN2 = (
    "attn_norm", "attn_q", "attn_q.bias", "attn_k", "attn_k.bias", "attn_v", "attn_v.bias", "attn_output", "ffn_norm",
    "ffn_gate", "ffn_up", "ffn_down",
)  # fmt: skip

# What the mixes are recorded for: tied and untied outputs, fused names, experts, many layers, rows that 256 or even 32
# does not divide.
MODELS: dict[str, Model] = {
    "llama-tied": Model("llama", 9),
    "llama-untied": Model("llama", 16, tied=False),
    "llama-narrow": Model("llama", 30, width=576, ffn=1536, heads=9, kv_heads=3),
    "llama-odd": Model("llama", 4, width=264, ffn=80, tied=False),
    "llama-70b": Model("llama", 80, tied=False),
    "llama-65b": Model("llama", 80, tied=False, kv_heads=8),
    "mixtral": Model("llama", 8, layer=MOE, experts=8, tied=False),
    "mistral-two-experts": Model("llama", 8, layer=MOE, experts=4, tied=False),
    "qwen2": Model("qwen2", 24, width=896, ffn=512, heads=14, kv_heads=2, layer=QWEN2),
    "qwen2-72b": Model("qwen2", 80, layer=QWEN2, tied=False),
    "qwen3": Model("qwen3", 10),
    "qwen3moe": Model("qwen3moe", 6, layer=MOE, experts=16, tied=False),
    "gemma2": Model("gemma2", 10, metadata={"gemma2.attn_logit_softcapping": 50.0}),
    "gemma3": Model("gemma3", 18, width=1152, ffn=512, heads=4, kv_heads=1),
    "phi3": Model("phi3", 12, layer=FUSED, tied=False),
    "chatglm": Model("chatglm", 28, layer=FUSED, tied=False),
    "glm4": Model("glm4", 10, layer=FUSED, tied=False),
    "falcon": Model("falcon", 32, layer=FUSED, tied=False, heads=8, kv_heads=1),
    "gpt2": Model("gpt2", 12, layer=FUSED, extra={"position_embd.weight": (32, 256)}),
}
