"""Tiny random models of every architecture in the matrix, as transformers makes them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VOCABULARY = 288  # 256 bytes, then tokens that nothing is written with
HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, HEAD = 64, 96, 2, 4, 2, 16
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_GATED = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Architecture:
    """A model by its numbers. attention, mlp: names of its linear layers. norm, norms: its last norm, those of a layer.

    biased: names of the linear layers that have a bias. experts: the layers of an expert, as transformers 4 named them.

    noise: how far llama.cpp and transformers may be apart on the bare model: largest difference of a log-probability,
    in nats. Both compute in 32-bit floats, in another order; measured: 2e-6 to 4e-6. With GELU it is 1e-3 to 2e-3:
    ggml looks that up in a table of 16-bit floats (ggml-cpu/vec.h, ggml_table_gelu_f16).
    """

    name: str
    model_type: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    attention: tuple[str, ...] = _ATTENTION
    mlp: tuple[str, ...] = _GATED
    norm: str = "norm"
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    biased: tuple[str, ...] = ()
    experts: tuple[str, ...] = ()
    embedding: str = "embed_tokens"
    tied: bool = False
    noise: float = 1e-5

    @property
    def tolerance(self) -> float:
        """Largest difference of a log-probability that an exact cell may have, in nats: merged weights add noise."""
        return 10 * self.noise

    @property
    def kl_tolerance(self) -> float:
        """Largest Kullback-Leibler divergence of an exact cell, in nats: the square of a difference, averaged."""
        return self.noise**2 + 1e-10

    @property
    def linear(self) -> tuple[str, ...]:
        return self.attention + self.mlp

    def config(self) -> dict[str, Any]:
        common = {
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "intermediate_size": FFN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS,
            "head_dim": HEAD,
            "max_position_embeddings": 128,
            "tie_word_embeddings": self.tied,
            "bos_token_id": VOCABULARY - 1,
            "eos_token_id": VOCABULARY - 1,
            "pad_token_id": VOCABULARY - 2,
        }
        return common | dict(self.fields)


_GEMMA = {"sliding_window": 16, "query_pre_attn_scalar": HEAD}
_GELU = 3e-3
_EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True}
_MIXTRAL = {"num_local_experts": 4, "sliding_window": None}
_CONV1D = (("c_attn", "attn.c_proj"), ("c_fc", "mlp.c_proj"))
_GPT2 = {"n_embd": HIDDEN, "n_head": HEADS, "n_layer": LAYERS, "n_positions": 128, "n_ctx": 128}

ARCHITECTURES = {
    arch.name: arch
    for arch in (
        Architecture("llama", "llama"),
        Architecture("llama-tied", "llama", tied=True),
        Architecture("mistral", "mistral", {"sliding_window": None}),
        Architecture("qwen2", "qwen2", biased=("q_proj", "k_proj", "v_proj"), tied=True),
        Architecture("qwen3", "qwen3"),
        Architecture("gemma2", "gemma2", _GEMMA, tied=True, noise=_GELU),
        Architecture("gemma3", "gemma3_text", _GEMMA, tied=True, noise=_GELU),
        Architecture("phi3", "phi3", attention=("qkv_proj", "o_proj"), mlp=("gate_up_proj", "down_proj")),
        Architecture("glm4", "glm4", mlp=("gate_up_proj", "down_proj")),
        Architecture("qwen3_moe", "qwen3_moe", _EXPERTS, mlp=(), experts=_GATED),
        Architecture("mixtral", "mixtral", _MIXTRAL, mlp=(), experts=("w1", "w2", "w3")),
        Architecture(
            "gpt2",
            "gpt2",
            _GPT2,
            *_CONV1D,
            norm="ln_f",
            norms=("ln_1", "ln_2"),
            biased=(*_CONV1D[0], *_CONV1D[1]),
            embedding="wte",
            tied=True,
            noise=_GELU,
        ),
    )
}  # fmt: skip


def build(arch: Architecture) -> Any:
    """The model with lively random weights: its distribution is far from flat, and every tensor matters."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(arch.model_type, **arch.config())
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(zlib.crc32(arch.name.encode()))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                weight += 0.1 * noise
            elif "embed" in name or ".wte" in name or ".wpe" in name:
                weight.copy_(0.2 * noise)
            else:
                weight.copy_(noise / HIDDEN**0.5)
    return model.eval()


def save(arch: Architecture, folder: Path) -> None:
    """The model as a Hugging Face directory."""
    build(arch).save_pretrained(folder)
    # The vendored converter counts the tokens of gemma3 in this file (conversion/gemma.py).
    vocabulary = {f"<{number}>": number for number in range(VOCABULARY)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": []}))
