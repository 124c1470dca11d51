"""Decide, before any work, which type every tensor of a merged model will have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from ggship.gguf.mix import FILE_TYPES, choose_types, fitting, may_quantize, parse_quant
from ggship.gguf.reader import GgufFile, TensorInfo
from ggship.gguf.types import GgmlType


class PlannedTensor(NamedTuple):
    """One tensor of the merged model: its name, the types it has and will have (ggml's names), its bytes then."""

    tensor: str
    from_type: str
    to_type: str
    nbytes: int


def plan_merge(
    base: GgufFile, touched: Collection[str], quant: str | None = None, force: bool = False
) -> list[PlannedTensor]:
    """What a merge of pairs for the tensors named `touched` makes of each tensor, in the order of the base.

    Without `quant`, 16 and 32 bit tensors keep their type and touched quantized ones become Q8_0. With it, llama.cpp's
    own mix decides for what is not quantized yet; quantized tensors are copied where untouched and stay at Q8_0 or
    above where touched (on their own grid a small update rounds away), unless `force`.
    UsageError for a quant that ggship cannot make.
    """
    name = parse_quant(quant) if quant else None
    mix = choose_types(base, name) if name else {}
    planned = []
    for tensor in base.tensors:
        kind = _target(tensor, base.architecture, tensor.name in touched, mix.get(tensor.name), force)
        planned.append(PlannedTensor(tensor.name, tensor.type_name, kind.name, kind.row_bytes(tensor.elements)))
    return planned


def file_type(base: GgufFile, types: Mapping[str, GgmlType], quant: str | None) -> int | None:
    """The number for general.file_type, or None where the base's own still holds.

    It is the asked one where the whole model was made by it, else that of the type that most weights have.
    """
    quantized_base = any(tensor.type.quantized for tensor in base.tensors)
    if quant and not quantized_base:
        return FILE_TYPES[parse_quant(quant)][0]
    was, becomes = _most({tensor.name: tensor.type for tensor in base.tensors}, base), _most(types, base)
    if was is becomes or becomes is None:
        return None
    name = {GgmlType.Q4_K: "Q4_K_M", GgmlType.Q5_K: "Q5_K_M"}.get(becomes, becomes.name)
    return FILE_TYPES[name][0] if name in FILE_TYPES else None


def _target(tensor: TensorInfo, architecture: str, touched: bool, mixed: GgmlType | None, force: bool) -> GgmlType:
    if not tensor.type.quantized:
        return mixed if mixed is not None else tensor.type
    lower = mixed is not None and mixed.bits < tensor.type.bits
    if not touched:
        return mixed if force and lower and mixed is not None else tensor.type
    floor = fitting(GgmlType.Q8_0, tensor.columns)
    if mixed is None or not may_quantize(tensor, architecture):
        return floor
    return mixed if force or mixed.bits >= floor.bits else floor


def _most(types: Mapping[str, GgmlType], base: GgufFile) -> GgmlType | None:
    sizes: dict[GgmlType, int] = {}
    for tensor in base.tensors:
        if len(tensor.shape) > 1:
            kind = types[tensor.name]
            sizes[kind] = sizes.get(kind, 0) + tensor.elements
    return max(sizes, key=lambda kind: sizes[kind]) if sizes else None
