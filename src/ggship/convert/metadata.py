"""The metadata of an adapter GGUF: the keys, values and order of llama.cpp's converter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
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
    except (yaml.YAMLError, ValueError, TypeError, AttributeError):
        # gguf trips over a README that is no YAML or has odd types in it. It says nothing of the weights: go by the
        # folder's name alone.
        metadata = gguf.Metadata.apply_metadata_heuristic(gguf.Metadata(), {}, {}, run_path, total)
    _tidy(metadata)
    if getattr(metadata, "sampling_penalty_repeat", 0) is None:
        metadata.sampling_penalty_repeat = _repetition_penalty(run_path)
    return metadata


def _tidy(metadata: Any) -> None:
    """Make texts of what a model card has in the place of texts (`language: [zh, no]` is a list with False in it)."""
    for field in fields(metadata):
        value = getattr(metadata, field.name)
        if field.name.startswith("sampling_") or value is None:
            continue
        if field.name in ("base_models", "datasets"):
            setattr(metadata, field.name, [{key: _text(item) for key, item in entry.items()} for entry in value])
        elif isinstance(value, (list, tuple)):
            setattr(metadata, field.name, [_text(item) for item in value])
        else:
            setattr(metadata, field.name, _text(value))


def _text(value: Any) -> str:
    # YAML 1.1 reads yes and no as true and false; Norwegian is `no`.
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _repetition_penalty(run_path: Path) -> float | None:
    """Penalty_repeat under transformers' name: the vendored release reads it, gguf 0.19.0 of the index does not."""
    try:
        config = json.loads((run_path / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    value = config.get("repetition_penalty") if isinstance(config, dict) else None
    return value if isinstance(value, (int, float)) else None
