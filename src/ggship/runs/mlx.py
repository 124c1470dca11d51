"""mlx-lm's adapters in PEFT's words: the same numbers under PEFT's names, with the shapes that PEFT has.

mlx-lm keeps A as [in, r] and B as [r, out], applied as x A B, multiplies by `scale` alone, and calls DoRA's magnitudes
`m` (mlx_lm/tuner/lora.py, LoRALinear and LoRAEmbedding; dora.py, DoRALinear). A layer on the embedding changes a tied
output head with it (LoRAEmbedding.as_linear). Only the last `num_layers` blocks have any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ggship.errors import BadFile
from ggship.runs.keys import PREFIX
from ggship.runs.model import TensorHeader

_HALF = re.compile(r"(?P<module>.+)\.lora_(?P<half>[ab])")
_EMBEDDINGS = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings")


def is_mlx(config: Mapping[str, Any]) -> bool:
    """Whether mlx-lm wrote this config: it names no PEFT method, and has its own field for LoRA."""
    return "peft_type" not in config and "lora_parameters" in config


def in_pefts_words(
    config: Mapping[str, Any], tensors: Mapping[str, TensorHeader]
) -> tuple[dict[str, Any], dict[str, TensorHeader]]:
    """(config, tensors) as PEFT would have saved them. The headers keep the names that the file has.

    Raises BadFile where rank or scale is missing: mlx-lm writes both on every save.
    """
    given = config.get("lora_parameters")
    parameters: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    rank, scale = parameters.get("rank"), parameters.get("scale")
    if type(rank) is not int or rank < 1 or type(scale) not in (int, float):
        raise BadFile(
            "adapter_config.json: lora_parameters should have a rank and a scale",
            where=f"rank is {rank!r:.40}, scale is {scale!r:.40}",
            hint="mlx-lm writes both on every save: copy the file again from where training ran",
            rule="GS101",
        )
    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": float(scale) * rank,  # type: ignore[arg-type]
        "use_dora": config.get("fine_tune_type") == "dora",
        "ensure_weight_tying": True,
    }
    return {**config, **said}, {_name(name, tensor): _turned(name, tensor) for name, tensor in tensors.items()}


def _name(name: str, tensor: TensorHeader) -> str:
    half = _HALF.fullmatch(name)
    if half and len(tensor.shape) == 2:
        letter = half["half"].upper()
        if half["module"].endswith(_EMBEDDINGS):
            return f"{PREFIX}{half['module']}.lora_embedding_{letter}"
        return f"{PREFIX}{half['module']}.lora_{letter}.weight"
    if name.endswith(".m") and len(tensor.shape) == 1:
        return f"{PREFIX}{name.removesuffix('.m')}.lora_magnitude_vector"
    return f"{PREFIX}{name}"


def _turned(name: str, tensor: TensorHeader) -> TensorHeader:
    if not _HALF.fullmatch(name) or len(tensor.shape) != 2:
        return tensor
    return replace(tensor, shape=tensor.shape[::-1], transposed=True)
