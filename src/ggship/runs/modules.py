"""Sort an adapter's tensors into LoRA pairs, what other methods trained, and what nothing here understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ggship.errors import BadFile
from ggship.runs.config import is_lora, rank_and_alpha, scale_of
from ggship.runs.keys import PREFIX, parse_key
from ggship.runs.methods import sort_experts, sort_methods
from ggship.runs.model import LoraModule, TensorHeader, TrainedModule

_PAIRS = {"lora_A": ("lora_A", "lora_B"), "lora_embedding_A": ("lora_embedding_A", "lora_embedding_B")}
_FLOATS = ("F64", "F32", "F16", "BF16")
_Parts = dict[str, dict[str, TensorHeader]]


@dataclass(frozen=True, slots=True)
class Sorted:
    """modules: the plain pairs, in the order of the layers; trained: what other methods gave, in the same order.

    unexpressed: names of all other tensors that matter.
    """

    modules: tuple[LoraModule, ...]
    trained: tuple[TrainedModule, ...]
    unexpressed: tuple[str, ...]


def sort_tensors(config: Mapping[str, Any], tensors: Mapping[str, TensorHeader]) -> Sorted:
    """Sort the tensors of one adapter.

    Law: every tensor is in a pair, in a trained module, in `unexpressed`, or one that PEFT's wrappers keep aside.
    Raises BadFile where half of a pair is missing, A and B do not belong together, or two adapters are in one file.
    """
    parts: _Parts = {}
    unexpressed: list[str] = []
    for name, tensor in tensors.items():
        key = parse_key(name)
        if key is None:
            continue
        _refuse_empty(tensor, prunable=config.get("peft_type") == "ADALORA")
        if not key.part or tensor.dtype not in _FLOATS:
            unexpressed += [name] * (key.part != "frozen")  # a frozen copy may well be quantized
            continue
        found = parts.setdefault(key.module, {})
        if key.part in found:
            raise BadFile(
                "the file holds more than one adapter",
                where=f"{tensor.file}: {found[key.part].name} and {name}",
                hint="save each adapter by itself: model.save_pretrained(DIR, selected_adapters=[NAME])",
                rule="GS203",
            )
        found[key.part] = tensor
    modules, stacked = _take_pairs(config, parts, unexpressed) if is_lora(config) else ([], {})
    experts, odd = sort_experts(config, stacked)
    trained, unexplained = sort_methods(config, parts)
    return Sorted(
        tuple(sorted(modules, key=lambda module: natural(module.name))),
        tuple(sorted((*trained, *experts), key=lambda module: (natural(module.name), module.method))),
        tuple(sorted((*unexpressed, *odd, *unexplained))),
    )


def module_names(tensors: Mapping[str, TensorHeader]) -> frozenset[str]:
    """Names of the modules that any tensor belongs to, for fingerprints."""
    return frozenset(name.removeprefix(PREFIX).split(".lora_")[0] for name in tensors)


def _take_pairs(
    config: Mapping[str, Any], parts: _Parts, unexpressed: list[str]
) -> tuple[list[LoraModule], dict[str, dict[str, TensorHeader]]]:
    """Take the pairs out of `parts`: (plain ones, those of a stack of experts)."""
    modules: list[LoraModule] = []
    stacked: dict[str, dict[str, TensorHeader]] = {}
    for name, found in parts.items():
        for first, halves in _PAIRS.items():
            pair = {half[-1]: found.pop(half) for half in halves if half in found}
            if not pair:
                continue
            _refuse_half(name, pair)
            if not all(len(tensor.shape) == 2 for tensor in pair.values()):
                unexpressed += [tensor.name for tensor in pair.values()]
            elif _of_parameter(config, name):
                stacked[name] = pair
            else:
                modules.append(_pair(config, name, pair["A"], pair["B"], embedding="embedding" in first))
    return modules, stacked


def _refuse_half(name: str, halves: Mapping[str, TensorHeader]) -> None:
    if len(halves) == 1:
        (half, tensor), other = next(iter(halves.items())), {"A": "B", "B": "A"}
        raise BadFile(
            f"half of a LoRA pair is missing: {name} has lora_{half}, but no lora_{other[half]}",
            where=f"{tensor.file}: {tensor.name}",
            hint="the adapter was not saved whole: copy or save it again from where training ran",
            rule="GS201",
        )


def _pair(config: Mapping[str, Any], name: str, a: TensorHeader, b: TensorHeader, *, embedding: bool) -> LoraModule:
    if a.shape[0] != b.shape[1]:
        raise BadFile(
            f"A and B of {name} do not belong together: rank {a.shape[0]} and {b.shape[1]}",
            where=f"{a.file}: lora_A {list(a.shape)}, lora_B {list(b.shape)}",
            hint="the adapter was not saved whole: copy or save it again from where training ran",
            rule="GS202",
        )
    rank_named, alpha = rank_and_alpha(config, name)
    rank = a.shape[0]
    return LoraModule(name, a, b, rank, alpha, scale_of(config, rank, alpha), rank_named, embedding)


def _refuse_empty(tensor: TensorHeader, *, prunable: bool) -> None:
    # DeepSpeed ZeRO-3 leaves parameters of shape [0] where they were not gathered before the save. AdaLoRA may prune a
    # module to rank 0.
    if 0 in tensor.shape and not (prunable and len(tensor.shape) == 2):
        raise BadFile(
            f"the tensor {tensor.name} is empty",
            where=f"{tensor.file}: shape {list(tensor.shape)}",
            hint="DeepSpeed ZeRO-3 saved it ungathered: run zero_to_fp32.py of the checkpoint, then save again",
            rule="GS204",
        )


def _of_parameter(config: Mapping[str, Any], module: str) -> bool:
    """Whether the pair is of a stack of parameters (target_parameters: the experts of one layer), not of a matrix."""
    if module.endswith(".base_layer"):
        return True
    for name in config.get("target_parameters") or ():
        parent, _, leaf = name.rpartition(".")
        of_module = module == parent or module.endswith(f".{parent}") if parent else module.endswith("experts")
        if leaf != "weight" and of_module:
            return True
    return False


def natural(name: str) -> tuple[object, ...]:
    """Sort key that puts layers.2 before layers.10."""
    return tuple(
        (0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in name.split(".")
    )
