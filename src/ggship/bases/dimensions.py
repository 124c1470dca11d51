"""The shapes that a base's weights must have, from its dimensions alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# GGUF metadata (without the architecture's prefix) <- names in config.json (transformers; ChatGLM's own).
_NAMES = {
    "block_count": ("num_hidden_layers", "num_layers", "n_layer"),
    "embedding_length": ("hidden_size", "n_embd"),
    "feed_forward_length": ("intermediate_size", "ffn_hidden_size"),
    "attention.head_count": ("num_attention_heads", "n_head"),
    "attention.head_count_kv": ("num_key_value_heads", "multi_query_group_num"),
    "attention.key_length": ("head_dim", "kv_channels"),
    "vocab_size": ("padded_vocab_size", "vocab_size"),
    "context_length": ("max_position_embeddings", "n_ctx", "n_positions", "seq_length"),
}
# Where every block is attention and one feed-forward network, by these names and sizes.
UNIFORM = frozenset(("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "chatglm", "glm4"))
_DEFAULT_HEAD = {"gemma": 256, "gemma2": 256, "gemma3": 256, "qwen3": 128}  # transformers: configuration_*.py


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes of a base; 0 where not known. width: embedding length; head: length of one head; kv_heads: of keys."""

    architecture: str
    blocks: int = 0
    width: int = 0
    inner: int = 0
    heads: int = 0
    kv_heads: int = 0
    head: int = 0
    vocabulary: int = 0

    def shape(self, tensor: str) -> tuple[int, int] | None:
        """[out, in] of a GGUF weight; None where the dimensions do not tell it."""
        if self.architecture not in UNIFORM:
            return None
        kind = tensor.removesuffix(".weight").split(".")[-1]
        q, kv = self.heads * self.head, self.kv_heads * self.head
        # These two keep gate and up in one tensor (conversion/phi3.py, chatglm.py, glm.py).
        up = 2 * self.inner if self.architecture in ("phi3", "chatglm", "glm4") else self.inner
        shapes = {
            "attn_q": (q, self.width),
            "attn_k": (kv, self.width),
            "attn_v": (kv, self.width),
            "attn_qkv": (q + 2 * kv, self.width),
            "attn_output": (self.width, q),
            "ffn_gate": (self.inner, self.width),
            "ffn_up": (up, self.width),
            "ffn_down": (self.width, self.inner),
            "token_embd": (self.vocabulary, self.width),
            "output": (self.vocabulary, self.width),
        }
        shape = shapes.get(kind)
        return shape if shape is not None and all(shape) else None


def from_metadata(architecture: str, metadata: Mapping[str, Any]) -> Dimensions:
    """Dimensions by GGUF metadata, or by Ollama's model_info. A value per layer (an array) counts as not known."""

    def number(key: str) -> int:
        value = metadata.get(f"{architecture}.{key}")
        return value if type(value) is int else 0

    heads, width = number("attention.head_count"), number("embedding_length")
    return Dimensions(
        architecture,
        blocks=number("block_count") - number("nextn_predict_layers"),
        width=width,
        inner=number("feed_forward_length"),
        heads=heads,
        kv_heads=number("attention.head_count_kv"),
        head=number("attention.key_length") or (width // heads if heads else 0),
        vocabulary=number("vocab_size"),
    )


def metadata_of_config(architecture: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The dimensions in config.json under GGUF's keys, with transformers' defaults where they matter."""
    found: dict[str, Any] = {"general.architecture": architecture}
    for key, names in _NAMES.items():
        value = next((config[name] for name in names if type(config.get(name)) is int), 0)
        if value:
            found[f"{architecture}.{key}"] = value
    if architecture == "chatglm" and config.get("multi_query_attention") is False:
        found.pop(f"{architecture}.attention.head_count_kv", None)
    heads = found.get(f"{architecture}.attention.head_count", 0)
    if heads:
        default = 8 if config.get("model_type") == "mistral" else heads
        found.setdefault(f"{architecture}.attention.head_count_kv", default)
        if architecture in _DEFAULT_HEAD:
            found.setdefault(f"{architecture}.attention.key_length", _DEFAULT_HEAD[architecture])
    return found
