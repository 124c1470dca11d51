"""Everything that training gave, as updates of the base's GGUF tensors: each named, laid out, and checked for fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ggship.bases.model import Base
from ggship.convert import factors
from ggship.convert.heads import with_own_head
from ggship.convert.layout import Destination, Layout, reads_bias
from ggship.convert.sources import AdapterTensors
from ggship.errors import BaseMismatch, NotExpressible
from ggship.gguf.updates.model import TensorUpdate, Update
from ggship.gguf.updates.vector import VectorUpdate
from ggship.runs.model import Run, TrainedModule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

Maker = Callable[[int], Update | None]
_WRONG_BASE = "pass the base it was trained on with --base; `ggship inspect` shows the one that training named"


@dataclass(slots=True)
class Change:
    """What becomes of one tensor. matrices: by number of the expert, None for every one; parts: of a vector."""

    name: str
    shape: tuple[int, ...]
    by: str
    matrices: dict[int | None, Maker] = field(default_factory=dict)
    parts: dict[str, Doubles] = field(default_factory=dict)
    keeps_tied: bool = False

    def make(self, matrix: int) -> Update | None:
        """The update of one matrix."""
        if self.parts:
            return VectorUpdate(**self.parts)
        maker = self.matrices.get(matrix, self.matrices.get(None))
        return maker(matrix) if maker else None


def tensor_updates(run: Run, base: Base, tensors: AdapterTensors) -> tuple[TensorUpdate, ...]:
    """Every trained number of the run in its place, in the order of the base; none is left out.

    base: with its tensors known. tensors: stays open until the updates have been merged.
    Raises NotExpressible for what GGUF has no place for, BaseMismatch for another shape than the base's,
    AdapterUnusable for NaN or Inf in what is read here already.
    """
    collected = _Collected(run, base, tensors)
    for module in run.modules:
        collected.pair(module.name)
    for trained in run.trained:
        collected.trained(trained)
    return with_own_head(collected.changes, run, base, collected.layout.facts.tied, tensors)


class _Collected:
    def __init__(self, run: Run, base: Base, tensors: AdapterTensors) -> None:
        self.base = base
        self.run = run
        self.tensors = tensors
        self.layout = Layout(base, 1 + max(map(_block, [*run.modules, *run.trained]), default=0))
        self.pairs = {module.name: module for module in run.modules}
        self.magnitudes = {item.name: item for item in run.trained if item.method == "dora"}
        self.changes: dict[str, Change] = {}
        self.dimensions = _dimensions(run, base, self.layout)

    def pair(self, name: str) -> None:
        module = self.pairs[name]
        for place in self._places(name):
            change = self._change(place, name, matrix=module.base_shape)
            magnitude = self.magnitudes.get(name)
            self._put(change, place, factors.pair(module, magnitude, place, self.tensors))

    def trained(self, item: TrainedModule) -> None:
        kinds: Mapping[str, Callable[[TrainedModule], None]] = {
            "dora": lambda _: None,  # with its pair
            "bias": self._added_bias,
            "saved": self._saved,
            "tokens": self._tokens,
            "frozen": self._frozen,
        }
        kinds.get(item.method, self._matrix)(item)

    def _matrix(self, item: TrainedModule) -> None:
        """A method with an update of its own for each matrix."""
        if any(0 in part.shape for part in item.parts.values()):
            return  # AdaLoRA has pruned all of it away
        for place in self._places(item.name):
            change = self._change(place, item.name)
            rows, columns = change.shape[-2:]
            if item.method == "experts":
                experts = item.parts["lora_A"].shape[0] // item.rank
                self._fits(change, (experts, 0, 0), change.shape)
            wanted = item.base_shape or (0, 0)
            self._fits(change, (wanted[0] // 2 if place.half is not None else wanted[0], wanted[1]), (rows, columns))
            maker = factors.maker(item, self.run.config, place, (rows, columns), self.dimensions, self.tensors)
            self._put(change, place, maker)
            if item.method == "ia3":
                self._scaled_bias(item, place)

    def _saved(self, item: TrainedModule) -> None:
        if "weight" in item.parts:
            header = item.parts["weight"]
            for place in self._places(item.name):
                change = self._change(place, item.name)
                self._fits(change, header.shape, change.shape[-len(header.shape) :])
                if len(change.shape) == 1:
                    self._vector(change, place, "new", self.tensors.read(header) + place.shift)
                else:
                    self._put(change, place, factors.replacement(header, place, self.tensors))
        if "bias" in item.parts:
            for change, place in self._biases(item.name, item.parts["bias"].shape):
                self._vector(change, place, "new", self.tensors.read(item.parts["bias"]))

    def _added_bias(self, item: TrainedModule) -> None:
        bias, scale = item.parts["lora_bias"], self.pairs[item.name].scale
        for change, place in self._biases(item.name, bias.shape):
            self._vector(change, place, "added", self.tensors.read(bias) * scale)

    def _scaled_bias(self, item: TrainedModule, place: Destination) -> None:
        vector = item.parts["ia3_l"]
        name = place.tensor.removesuffix(".weight") + ".bias"
        if vector.shape[-1] == 1 and name in self.base.tensors:
            for change, at in self._biases(item.name, vector.shape[:1]):
                self._vector(change, at, "factor", self.tensors.read(vector)[:, 0])

    def _tokens(self, item: TrainedModule) -> None:
        delta = item.parts["trainable_tokens_delta"]
        for place in self._places(item.name):
            change = self._change(place, item.name)
            change.keeps_tied = True
            maker = factors.tokens(item, self.run.config, change.shape, self.tensors)
            self._fits(change, delta.shape[-1:], change.shape[-1:])
            self._put(change, place, maker)

    def _frozen(self, item: TrainedModule) -> None:
        for place in self._places(item.name):
            found = self.base.tensors.get(place.tensor) or self.base.tensors.get(_TIED.get(place.tensor, ""))
            shape = item.parts["weight"].shape
            if found is not None and len(shape) == len(found.shape) and tuple(found.shape) != shape:
                raise _mismatch(item.name, shape, found.shape)

    def _biases(self, name: str, shape: tuple[int, ...]) -> list[tuple[Change, Destination]]:
        places = self.layout.bias(name)
        if not places:
            raise self._no_place(f"{name}.bias")
        found = []
        for place in places:
            if place.tensor not in self.base.tensors and not reads_bias(self.base.architecture, place.tensor):
                raise NotExpressible(
                    f"llama.cpp reads no such bias of a {self.base.architecture} model",
                    where=f"{name}.bias -> {place.tensor}",
                    hint="train again without it: there is no GGUF that could carry it",
                    code="bias",
                )
            change = self._change(place, name, matrix=shape)
            self._fits(change, shape, change.shape)
            found.append((change, place))
        return found

    def _places(self, name: str) -> tuple[Destination, ...]:
        places = self.layout.weight(name)
        if not places:
            raise self._no_place(name)
        return places

    def _no_place(self, name: str) -> NotExpressible:
        return NotExpressible(
            "the adapter changes a module that has no tensor in GGUF",
            where=f"{name}, of a {self.base.architecture} base",
            hint="train again without that module",
            code="no-place",
        )

    def _change(self, place: Destination, by: str, matrix: tuple[int, ...] | None = None) -> Change:
        """The change of that tensor. matrix: the shape that one matrix (or vector) of it must have."""
        found = self.base.tensors.get(place.tensor)
        if found is None and place.tensor in _TIED and self.layout.facts.tied:
            found = self.base.tensors.get(_TIED[place.tensor])
        shape = tuple(found.shape) if found else (matrix if place.tensor.endswith(".bias") else None)
        if shape is None:
            raise BaseMismatch(
                "the base has no tensor for a module of the adapter", where=f"{by} -> {place.tensor}", hint=_WRONG_BASE
            )
        change = self.changes.setdefault(place.tensor, Change(place.tensor, shape, by))
        if matrix is not None:
            self._fits(change, matrix, change.shape[-len(matrix) :])
        if place.matrix is not None and (len(shape) != 3 or place.matrix >= shape[0]):
            raise _mismatch(by, (place.matrix + 1, *(matrix or ())), shape)
        return change

    def _fits(self, change: Change, wanted: tuple[int, ...], found: tuple[int, ...]) -> None:
        """`wanted` has 0 where the adapter does not tell."""
        if len(wanted) != len(found) or any(a not in (0, b) for a, b in zip(wanted, found, strict=True)):
            raise _mismatch(change.by, wanted, found)

    def _put(self, change: Change, place: Destination, maker: Maker) -> None:
        if place.matrix in change.matrices or (change.matrices and None in (place.matrix, *change.matrices)):
            raise NotExpressible(
                "two parts of the adapter change the same tensor",
                where=f"{change.by} -> {change.name}",
                hint="save one adapter by itself: model.save_pretrained(DIR, selected_adapters=[NAME])",
                code="two-changes",
            )
        change.matrices[place.matrix] = maker

    def _vector(self, change: Change, place: Destination, part: str, values: Doubles) -> None:
        order = place.order(len(values))
        change.parts[part] = values if order is None else values[order]


_TIED = {"output.weight": "token_embd.weight"}


def _mismatch(name: str, adapter: tuple[int, ...], base: tuple[int, ...]) -> BaseMismatch:
    return BaseMismatch(
        "the adapter was trained on another base",
        where=f"{name}: adapter {list(adapter)}, base {list(base)} (0: any)"
        if 0 in adapter
        else f"{name}: adapter {list(adapter)}, base {list(base)}",
        hint=_WRONG_BASE,
    )


def _block(module: object) -> int:
    name: str = module.name  # type: ignore[attr-defined]
    return next((int(part) for part in name.split(".") if part.isdecimal()), 0)


def _dimensions(run: Run, base: Base, layout: Layout) -> tuple[int, int]:
    """(largest out, largest in) of all modules with VeRA: the size of the projections that they share."""
    shapes = [
        base.tensors[place.tensor].shape[-2:]
        for item in run.trained
        if item.method == "vera"
        for place in layout.weight(item.name)
        if place.tensor in base.tensors
    ]
    return (max((shape[0] for shape in shapes), default=0), max((shape[1] for shape in shapes), default=0))
