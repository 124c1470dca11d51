"""From a module's path in Hugging Face to the name of its tensor in GGUF."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_ALONE = "ggship_gguf_names"


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
def _table(architecture: str, block_count: int) -> Any:
    names = _gguf("constants").MODEL_ARCH_NAMES
    for arch, name in names.items():
        if name == architecture:
            return _gguf("tensor_mapping").TensorNameMap(arch, block_count)
    return None


def _gguf(module: str) -> Any:
    """A module of gguf without the rest of that package, whose __init__ takes 0.2 s for numpy and a reader.

    Whether an adapter fits its base is asked at the start of every command, also of those with nothing to do.
    """
    if _ALONE not in sys.modules:
        found = find_spec("gguf")
        assert found is not None
        assert found.submodule_search_locations is not None
        package = ModuleType(_ALONE)
        package.__path__ = list(found.submodule_search_locations)
        sys.modules[_ALONE] = package
    return import_module(f"{_ALONE}.{module}")
