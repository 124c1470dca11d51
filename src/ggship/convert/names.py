"""From a module's path in Hugging Face to the name of its tensor in GGUF."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gguf import TensorNameMap


def map_module(architecture: str, block_count: int, module: str) -> str | None:
    """The GGUF weight of a module, None where there is none: model.layers.0.self_attn.q_proj -> blk.0.attn_q.weight.

    architecture: GGUF's name (llama, qwen2). Prefixes that wrappers put before a text model's own names are taken off
    as llama.cpp's converter does (`language_model.`; `text_model.`; ChatGLM's `transformer.`). Names that stand without
    `model.` (an adapter of AutoModel) are found too. Source: gguf.tensor_mapping.
    """
    return _map_module(architecture, block_count, module)


@lru_cache(maxsize=8192)
def _map_module(architecture: str, block_count: int, module: str) -> str | None:
    table = _table(architecture, block_count)
    if table is None:
        return None
    name = module.replace("language_model.", "")
    if architecture == "llama":
        name = name.replace("text_model.", "")
    if architecture == "chatglm":
        name = name.removeprefix("transformer.")
    for candidate in (name, f"model.{name}"):
        found: str | None = table.get_name(candidate)
        if found is not None:
            return f"{found}.weight"
    return None


@lru_cache(maxsize=8)
def _table(architecture: str, block_count: int) -> TensorNameMap | None:
    import gguf

    for arch, name in gguf.MODEL_ARCH_NAMES.items():
        if name == architecture:
            return gguf.get_tensor_name_map(arch, block_count)
    return None
