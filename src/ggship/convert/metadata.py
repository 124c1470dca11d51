"""The metadata of an adapter GGUF: the keys, values and order of llama.cpp's converter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf

ALORA_TOKENS = "adapter.alora.invocation_tokens"


def describe(writer: gguf.GGUFWriter, run_path: Path, alpha: float, alora_tokens: Sequence[int] | None) -> None:
    """Put all key/values into the writer, whose tensors are already known: they give the size label.

    Name, version, size, licence, base models, data sets, tags and languages come from the adapter's own folder (its
    README.md, its name), never from the base, as in convert_lora_to_gguf.py (`dir_model_card`).
    """
    total, shared, experts, expert_count = writer.get_total_parameter_count()
    metadata = _load(run_path, total)
    if metadata.name is None:
        metadata.name = run_path.name
    if metadata.size_label is None and total > 0:
        metadata.size_label = gguf.size_label(total, shared, experts, expert_count)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    metadata.set_gguf_meta_model(writer)
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    if alora_tokens:
        writer.add_key_value(ALORA_TOKENS, list(alora_tokens), gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _load(run_path: Path, total: int) -> Any:
    import yaml

    try:
        metadata = gguf.Metadata.load(None, run_path, None, total)
    except (yaml.YAMLError, UnicodeDecodeError):
        # A README that is no YAML says nothing of the weights: go by the folder's name alone.
        metadata = gguf.Metadata.apply_metadata_heuristic(gguf.Metadata(), {}, {}, run_path, total)
    if getattr(metadata, "sampling_penalty_repeat", 0) is None:
        metadata.sampling_penalty_repeat = _repetition_penalty(run_path)
    return metadata


def _repetition_penalty(run_path: Path) -> float | None:
    """Penalty_repeat under transformers' name: the vendored release reads it, gguf 0.19.0 of the index does not."""
    try:
        config = json.loads((run_path / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    value = config.get("repetition_penalty") if isinstance(config, dict) else None
    return value if isinstance(value, (int, float)) else None
