"""Make the update of one matrix from the tensors that a method trained: read, scaled, in the order of GGUF's rows.

The formulas are PEFT's; where each was read stands with the updates themselves (gguf/updates/) and with TrainedModule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ggship.convert.layout import Destination
from ggship.convert.sources import AdapterTensors
from ggship.convert.vera import projections
from ggship.errors import BadFile, BaseMismatch, NotExpressible
from ggship.gguf.exact import exact_product
from ggship.gguf.lowrank import LowRank
from ggship.gguf.updates.dora import DoraColumns, DoraRows
from ggship.gguf.updates.lycoris import Hadamard, Kronecker
from ggship.gguf.updates.model import Update
from ggship.gguf.updates.replaced import Replacement, RowReplacement
from ggship.gguf.updates.rotated import Rotated, rotations
from ggship.gguf.updates.scaled import Scaled
from ggship.runs.methods import token_indices
from ggship.runs.model import LoraModule, TensorHeader, TrainedModule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

Maker = Callable[[int], Update | None]


def pair(module: LoraModule, magnitude: TrainedModule | None, place: Destination, tensors: AdapterTensors) -> Maker:
    """A LoRA pair, with DoRA's magnitudes where it has them."""

    def make(_: int) -> Update:
        a, b = tensors.read(module.a), tensors.read(module.b)
        if module.embedding:
            a, b = np.ascontiguousarray(b.T), a.T
        b = _ordered(b * module.scale, place)
        if magnitude is None:
            return LowRank(b, a)
        header = magnitude.parts["lora_magnitude_vector"]
        lengths = tensors.read(header).reshape(-1)
        if module.embedding and len(lengths) == a.shape[1]:
            return DoraColumns(b, a, lengths)
        if len(lengths) != len(b):
            raise BadFile(
                f"the magnitudes of {module.name} do not belong to its pair",
                where=f"{header.file}: {header.name} {list(header.shape)}, {len(b)} rows",
                hint="copy the adapter again from where training ran",
            )
        return DoraRows(b, a, _ordered(lengths, place))

    return make


def replacement(header: TensorHeader, place: Destination, tensors: AdapterTensors) -> Maker:
    """A weight that was trained whole."""
    return lambda _: Replacement(tensors.rows(header), place.order(header.shape[0]))


def tokens(item: TrainedModule, config: Mapping[str, Any], shape: tuple[int, ...], tensors: AdapterTensors) -> Maker:
    """Rows of an embedding [vocabulary, width] of that shape."""
    header = item.parts["trainable_tokens_delta"]
    indices = token_indices(config, item.name) or ()
    if len(indices) != header.shape[0] or max(indices, default=0) >= shape[0]:
        raise BaseMismatch(
            "the adapter trained tokens that the base does not have",
            where=f"{item.name}: {header.shape[0]} rows for tokens up to {max(indices, default=0)}, base {list(shape)}",
            hint="pass the base it was trained on with --base; one whose vocabulary was grown cannot be merged here",
        )
    return lambda _: RowReplacement(np.array(indices, np.intp), tensors.read(header).astype(np.float32))


def maker(
    item: TrainedModule,
    config: Mapping[str, Any],
    place: Destination,
    shape: tuple[int, int],
    largest: tuple[int, int],
    tensors: AdapterTensors,
) -> Maker:
    """The update of a matrix [rows, columns] of that shape. largest: (out, in) of all modules with VeRA."""
    read = {name: lambda part=part: tensors.read(part) for name, part in item.parts.items()}
    if item.method == "experts":
        return _experts(item, read, place)
    if item.method == "vera":
        return lambda _: _vera(read, config, place, shape, largest)
    if item.method == "oft":
        blocks = _oft_blocks(item, config, shape[1])
        return lambda _: Rotated(rotations(read["oft_R"](), **blocks))
    simple: dict[str, Callable[[], Update]] = {
        "adalora": lambda: LowRank(
            _ordered(read["lora_B"]() * (read["lora_E"]().reshape(-1) * item.scale), place), read["lora_A"]()
        ),
        "loha": lambda: Hadamard(
            (_ordered(read["hada_w1_a"](), place), read["hada_w1_b"]()),
            (_ordered(read["hada_w2_a"](), place), read["hada_w2_b"]()),
            item.scale,
        ),
        "lokr": lambda: Kronecker(_whole(read, "lokr_w1"), _whole(read, "lokr_w2"), item.scale, place.order(shape[0])),
        "ia3": lambda: _scaled(read["ia3_l"](), place),
    }
    make = simple[item.method]
    return lambda _: make()


Read = Mapping[str, Callable[[], "Doubles"]]


def _ordered(array: Doubles, place: Destination) -> Doubles:
    order = place.order(len(array))
    return np.ascontiguousarray(array) if order is None else np.ascontiguousarray(array[order])


def _scaled(vector: Doubles, place: Destination) -> Update:
    if vector.shape[0] == 1:
        return Scaled(vector[0], columns=True)
    return Scaled(_ordered(vector[:, 0], place))


def _experts(item: TrainedModule, read: Read, place: Destination) -> Maker:
    """A is [rank of each expert after the other, in]; B is [out, all experts of each rank after the other]

    (tuners/lora/layer.py, ParamWrapper.get_delta_weight: "o r e, e r i -> e o i").
    """
    kept: dict[str, Doubles] = {}
    experts = item.parts["lora_A"].shape[0] // item.rank

    def make(matrix: int) -> Update:
        if not kept:
            a, b = read["lora_A"](), read["lora_B"]()
            kept["a"] = a.reshape(experts, item.rank, a.shape[1])
            kept["b"] = b.reshape(b.shape[0], item.rank, experts)
        update = LowRank(_ordered(kept["b"][:, :, matrix] * item.scale, place), kept["a"][matrix])
        if matrix == experts - 1:
            kept.clear()
        return update

    return make


def _vera(
    read: Read, config: Mapping[str, Any], place: Destination, shape: tuple[int, int], largest: tuple[int, int]
) -> Update:
    """D = diag(lambda_b) B diag(lambda_d) A, A and B cut to the size of the module (tuners/vera/layer.py)."""
    lambda_b, lambda_d = read["vera_lambda_b"](), read["vera_lambda_d"]()
    if "vera_A" in read and "vera_B" in read:
        a, b = read["vera_A"](), read["vera_B"]()
    else:
        a, b = projections(int(config.get("projection_prng_key") or 0), len(lambda_d), *largest)
    rows, columns = shape
    if a.shape[0] != len(lambda_d) or a.shape[1] < columns or b.shape[0] < rows:
        raise BadFile(
            "the shared projections of VeRA do not fit its modules",
            where=f"vera_A {list(a.shape)}, vera_B {list(b.shape)}, weight {list(shape)}",
            hint="copy the adapter again from where training ran",
        )
    b = lambda_b[:, None] * b[:rows] * lambda_d
    return LowRank(_ordered(b, place), np.ascontiguousarray(a[:, :columns]))


def _oft_blocks(item: TrainedModule, config: Mapping[str, Any], columns: int) -> dict[str, Any]:
    count, numbers = item.parts["oft_R"].shape
    size = round((1 + (1 + 8 * numbers) ** 0.5) / 2)
    shared = bool(config.get("block_share"))
    if size * (size - 1) // 2 != numbers or (count * size != columns and not (shared and count == 1)):
        raise BaseMismatch(
            "the adapter was trained on another base",
            where=f"{item.name}: {count} blocks of {size}, the base has {columns} columns",
            hint="pass the base it was trained on with --base",
        )
    if "use_cayley_neumann" not in config or config.get("fan_in_fan_out"):
        raise NotExpressible(
            "this OFT adapter was made by a PEFT that computed something else",
            where="adapter_config.json: use_cayley_neumann is missing"
            if "use_cayley_neumann" not in config
            else "adapter_config.json: fan_in_fan_out",
            hint="save it again with PEFT 0.17 or newer, or merge it with the PEFT that trained it",
            code="old-oft",
        )
    terms = int(config.get("num_cayley_neumann_terms") or 5) if config["use_cayley_neumann"] else None
    return {"size": size, "neumann_terms": terms, "eps": float(config.get("eps", 6e-5)) if config.get("coft") else None}


def _whole(read: Read, name: str) -> Doubles:
    return read[name]() if name in read else exact_product(read[f"{name}_a"](), read[f"{name}_b"]())
