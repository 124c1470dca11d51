"""What makes one model of another: the tensors in which a merged GGUF file differs from its base, as updates of it.

For a model that another program merged: its size, survival and laws are then measured like those of any merge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ggship.errors import BadFile, NotExpressible
from ggship.gguf.parts import Source
from ggship.gguf.quantize import PLAIN, Kernels, read_plain, write_plain
from ggship.gguf.reader import GgufFile, TensorInfo
from ggship.gguf.types import GgmlType
from ggship.gguf.updates.model import TensorUpdate, Update
from ggship.gguf.updates.replaced import Replacement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.intp]

_CHUNK_WEIGHTS = 1 << 20
_HEAD, _EMBEDDING = "output.weight", "token_embd.weight"


@contextmanager
def updates_between(base: GgufFile, merged: GgufFile, kernels: Kernels) -> Iterator[tuple[TensorUpdate, ...]]:
    """The updates, which read from `merged` (all of it F32, F16, BF16 or F64) while the context lasts.

    A tensor is the base's where it becomes the same in the base's own type: a base may have been rounded to 16 bits.
    Raises NotExpressible where the two do not have the same tensors, but for an output head that training parted.
    """
    names = {tensor.name for tensor in merged.tensors}
    missing = [tensor.name for tensor in base.tensors if tensor.name not in names]
    if missing:
        raise NotExpressible("the merged model lacks tensors of the base", where=", ".join(missing[:5]))
    there = {tensor.name: tensor for tensor in base.tensors}
    with Source(base) as left, Source(merged) as right:
        updates = []
        for tensor in merged.tensors:
            found = there.get(tensor.name)
            source = None
            if found is None and tensor.name == _HEAD and _EMBEDDING in there:
                found, source = there[_EMBEDDING], _EMBEDDING
            if found is None or found.shape != tensor.shape:
                raise NotExpressible(
                    "the merged model has other tensors than the base",
                    where=f"{tensor.name}: {list(tensor.shape)}, base {list(found.shape) if found else 'without it'}",
                    hint="a vocabulary that training grew cannot be merged into the old one",
                )
            if tensor.type not in PLAIN:
                raise BadFile("the merged model is quantized already", where=f"{merged.path}: {tensor.name}")
            if source or not _same(found, left, tensor, right, kernels):
                updates.append(TensorUpdate(tensor.name, tensor.shape, _maker(tensor, right), source))
        yield tuple(updates)


class RowsInGguf:
    """A RowSource of one matrix of a tensor of plain floats; may be read from several threads."""

    def __init__(self, tensor: TensorInfo, file: Source, matrix: int = 0) -> None:
        self._type = tensor.type
        self._file = file
        rows = tensor.shape[-2] if len(tensor.shape) > 1 else 1
        self._row_bytes = tensor.type.row_bytes(tensor.columns)
        self._offset = tensor.offset + matrix * rows * self._row_bytes
        self.shape: tuple[int, int] = (rows, tensor.columns)

    def read(self, rows: Rows, out: Floats) -> None:
        """These rows, which follow one another."""
        if len(rows):
            start, count = int(rows[0]), len(rows)
            data = np.empty((count, self._row_bytes), np.uint8)
            self._file.read_into(data.data.cast("B"), self._offset + start * self._row_bytes)
            read_plain(self._type, data, out)


def _maker(tensor: TensorInfo, file: Source) -> Callable[[int], Update]:
    return lambda matrix: Replacement(RowsInGguf(tensor, file, matrix))


def _same(base: TensorInfo, left: Source, merged: TensorInfo, right: Source, kernels: Kernels) -> bool:
    step = max(1, _CHUNK_WEIGHTS // max(1, base.columns))
    whole = RowsInGguf(_flat(merged), right)
    row = base.type.row_bytes(base.columns)
    for start in range(0, base.rows, step):
        count = min(step, base.rows - start)
        ours, theirs = (np.empty((count, base.columns), np.float32) for _ in range(2))
        data = np.empty((count, row), np.uint8)
        left.read_into(data.data.cast("B"), base.offset + start * row)
        kernels.dequantize(base.type, data, ours)
        whole.read(np.arange(start, start + count), theirs)
        if base.type in PLAIN:
            _round(base.type, theirs, kernels)
        if not np.array_equal(ours, theirs):
            return False
    return True


def _flat(tensor: TensorInfo) -> TensorInfo:
    return TensorInfo(tensor.name, (tensor.rows, tensor.columns), tensor.type, tensor.offset, tensor.nbytes)


def _round(kind: GgmlType, weights: Floats, kernels: Kernels) -> None:
    """To the type and back."""
    encoded = np.empty((len(weights), kind.row_bytes(weights.shape[1])), np.uint8)
    if kind is GgmlType.BF16:
        kernels.quantize(kind, weights, encoded)
    else:
        write_plain(kind, weights, encoded)
    read_plain(kind, encoded, weights)
