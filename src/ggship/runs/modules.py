"""Sort an adapter's tensors into LoRA pairs, by name and shape, and what no plain pair can carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ggship.errors import BadFile
from ggship.runs.config import is_lora, rank_and_alpha, scale_of
from ggship.runs.model import LoraModule, TensorHeader

PREFIX = "base_model.model."
# PEFT strips the adapter's name on save; raw state_dict dumps (FSDP, DeepSpeed) keep it: lora_A.default.weight.
_LINEAR = re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])(?:\.(?P<adapter>[^.]+))?\.weight")
_EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<half>[AB])(?:\.(?P<adapter>[^.]+))?")
_FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Sorted:
    """modules: the plain pairs, in the order of the layers; unexpressed: names of all other tensors that matter."""

    modules: tuple[LoraModule, ...]
    unexpressed: tuple[str, ...]


def sort_tensors(config: Mapping[str, Any], tensors: Mapping[str, TensorHeader]) -> Sorted:
    """Pair A and B of each module.

    Law: every tensor is in exactly one pair, in `unexpressed`, or the frozen copy of a weight that has a pair
    (PEFT saves `embed_tokens.base_layer.weight` and `lm_head.base_layer.weight` beside them; they are not trained).
    Raises BadFile where half of a pair is missing, or A and B do not belong together.
    """
    if not is_lora(config):
        return Sorted((), tuple(sorted(tensors)))
    halves: dict[str, dict[str, TensorHeader]] = {}
    unexpressed: list[str] = []
    for name, tensor in tensors.items():
        _refuse_empty(tensor)
        match = _LINEAR.fullmatch(name) or _EMBEDDING.fullmatch(name)
        if match is None:
            unexpressed.append(name)
            continue
        pair = halves.setdefault(match["module"].removeprefix(PREFIX), {})
        if match["half"] in pair:
            raise BadFile(
                "the file holds more than one adapter",
                where=f"{tensor.file}: {pair[match['half']].name} and {name}",
                hint="save each adapter by itself: model.save_pretrained(DIR, selected_adapters=[NAME])",
            )
        pair[match["half"]] = tensor
    modules: list[LoraModule] = []
    for name, pair in halves.items():
        _refuse_half(name, pair)
        if _stacked(config, name) or not all(_plain(tensor) for tensor in pair.values()):
            unexpressed += [tensor.name for tensor in pair.values()]
        else:
            modules.append(_pair(config, name, pair["A"], pair["B"]))
    frozen = {f"{module.name}.base_layer.weight" for module in modules}
    return Sorted(
        tuple(sorted(modules, key=lambda module: _natural(module.name))),
        tuple(sorted(name for name in unexpressed if name.removeprefix(PREFIX) not in frozen)),
    )


def module_names(tensors: Mapping[str, TensorHeader]) -> frozenset[str]:
    """Names of the modules that any tensor belongs to, for fingerprints."""
    return frozenset(name.removeprefix(PREFIX).split(".lora_")[0] for name in tensors)


def _refuse_half(name: str, halves: Mapping[str, TensorHeader]) -> None:
    if len(halves) == 1:
        (half, tensor), other = next(iter(halves.items())), {"A": "B", "B": "A"}
        raise BadFile(
            f"half of a LoRA pair is missing: {name} has lora_{half}, but no lora_{other[half]}",
            where=f"{tensor.file}: {tensor.name}",
            hint="the adapter was not saved whole: copy or save it again from where training ran",
        )


def _plain(tensor: TensorHeader) -> bool:
    return tensor.dtype in _FLOATS and len(tensor.shape) == 2


def _pair(config: Mapping[str, Any], name: str, a: TensorHeader, b: TensorHeader) -> LoraModule:
    if a.shape[0] != b.shape[1]:
        raise BadFile(
            f"A and B of {name} do not belong together: rank {a.shape[0]} and {b.shape[1]}",
            where=f"{a.file}: lora_A {list(a.shape)}, lora_B {list(b.shape)}",
            hint="the adapter was not saved whole: copy or save it again from where training ran",
        )
    rank_named, alpha = rank_and_alpha(config, name)
    rank = a.shape[0]
    return LoraModule(name, a, b, rank, alpha, scale_of(config, rank, alpha), rank_named)


def _refuse_empty(tensor: TensorHeader) -> None:
    # DeepSpeed ZeRO-3 leaves parameters of shape [0] where they were not gathered before the save.
    if 0 in tensor.shape:
        raise BadFile(
            f"the tensor {tensor.name} is empty",
            where=f"{tensor.file}: shape {list(tensor.shape)}",
            hint="DeepSpeed ZeRO-3 saved it ungathered: run zero_to_fp32.py of the checkpoint, then save again",
        )


def _stacked(config: Mapping[str, Any], module: str) -> bool:
    """Whether the pair is of a parameter (target_parameters: the experts of one layer stacked), not of a module."""
    if module.endswith(".base_layer"):
        return True
    parents = [name.rpartition(".")[0] for name in config.get("target_parameters") or []]
    return any(parent and (module == parent or module.endswith(f".{parent}")) for parent in parents)


def _natural(name: str) -> tuple[object, ...]:
    """Sort key that puts layers.2 before layers.10."""
    return tuple(
        (0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in name.split(".")
    )
