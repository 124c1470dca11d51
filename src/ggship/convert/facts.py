"""What the conversion needs to know of the base, from its GGUF metadata or its config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ggship.bases.model import Base
from ggship.errors import BadFile

# transformers leaves a key out of config.json where it has its default; these defaults change the conversion.
_MISTRAL_KV_HEADS = 8
_TIED_BY_DEFAULT = ("gemma",)


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """Numbers of the base. 0 or "" where neither the metadata nor the config says.

    heads, kv_heads: attention heads of queries and of keys. hf_class: transformers' class name.
    tied: the output head is the embedding. sections: the rotary embedding is M-RoPE.
    """

    block_count: int
    heads: int
    kv_heads: int
    vocabulary: int
    hf_class: str
    tied: bool
    sections: bool


def read_facts(base: Base) -> BaseFacts:
    """The facts of this base: the GGUF's own metadata first, since that is what will run, then config.json."""
    config = _text_config(base)
    arch = base.architecture

    def number(key: str, *names: str) -> int:
        value = base.metadata.get(f"{arch}.{key}")
        if not isinstance(value, int):
            value = next((config[name] for name in names if isinstance(config.get(name), int)), 0)
        return int(value)

    heads = number("attention.head_count", "n_heads", "num_attention_heads")
    kv_heads = number("attention.head_count_kv", "n_kv_heads", "num_key_value_heads")
    if not kv_heads:
        kv_heads = _MISTRAL_KV_HEADS if config.get("model_type") == "mistral" else heads
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    embedding = base.tensors.get("token_embd.weight")
    rows = embedding.shape[0] if embedding and embedding.shape else 0
    classes = config.get("architectures") or [""]
    return BaseFacts(
        block_count=number("block_count", "num_hidden_layers", "n_layers", "n_layer", "num_layers"),
        heads=heads,
        kv_heads=kv_heads,
        vocabulary=rows or number("vocab_size", "padded_vocab_size", "vocab_size"),
        hf_class=str(classes[0]),
        tied=_tied(base, config),
        sections=f"{arch}.rope.dimension_sections" in base.metadata
        or (isinstance(rope, Mapping) and "mrope_section" in rope),
    )


def _tied(base: Base, config: Mapping[str, Any]) -> bool:
    if base.tensors:
        return "output.weight" not in base.tensors
    if "tie_word_embeddings" in config:
        return bool(config["tie_word_embeddings"])
    return base.architecture.startswith(_TIED_BY_DEFAULT)


def _text_config(base: Base) -> Mapping[str, Any]:
    """config.json, with the text model's part laid over it where the model has several parts."""
    if base.config_dir is None:
        return {}
    path = base.config_dir / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise BadFile("the base's config.json is not JSON", where=f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise BadFile("the base's config.json is no JSON object", where=str(path))
    classes = config.get("architectures")
    text = config.get("text_config")
    return (
        {**config, **text, "architectures": text.get("architectures") or classes} if isinstance(text, dict) else config
    )
