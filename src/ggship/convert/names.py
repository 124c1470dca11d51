"""From a module's path in Hugging Face to the name of its tensor in GGUF."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_ALONE = "ggship_gguf_names"
MOST_BLOCKS = 2000  # the deepest models have some 130; the table of names grows with them
_EXPERT = re.compile(r"\.experts\.\d+\.")


def map_module(architecture: str, block_count: int, module: str) -> str | None:
    """The GGUF weight of a module, None where there is none: model.layers.0.self_attn.q_proj -> blk.0.attn_q.weight.

    architecture: GGUF's name (llama, qwen2). An output head is output.weight also where the architecture has no name
    for one, since its head is always the embedding. Prefixes that wrappers put before a text model's own names are
    taken off as llama.cpp's converter does (`language_model.`; `text_model.`; ChatGLM's `transformer.`). Names that
    stand without `model.` (an adapter of AutoModel) are found too. Source: gguf.tensor_mapping.
    """
    return _map_module(architecture, block_count, module)


def weights_of(architecture: str, block_count: int, module: str) -> tuple[str, ...]:
    """The GGUF weights that a module lies in, or a parameter of fused experts (`...experts.gate_up_proj`).

    The experts of a layer are one tensor, whether the module is one of them (`...experts.3.up_proj`) or all; gate and
    up, which are one parameter in transformers, are two. () where GGUF has no place.
    """
    stack, fused, _ = module.rpartition("gate_up_proj")
    if fused and stack.endswith(".experts."):
        names = [f"{stack}gate_proj", f"{stack}up_proj"]
    else:
        names = [_EXPERT.sub(".experts.", module)]
    found = [_map_module(architecture, block_count, name) for name in names]
    return tuple(name for name in found if name is not None)


@lru_cache(maxsize=8192)
def _map_module(architecture: str, block_count: int, module: str) -> str | None:
    table = _table(architecture, min(block_count, MOST_BLOCKS))
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
    return "output.weight" if name.rpartition(".")[2] == "lm_head" else None


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
