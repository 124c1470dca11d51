"""The work of a merge, cut into numbered items that any worker can do, in any order."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ggship.gguf.chunks import COPY_BYTES, ChunkWorker, Measured, chunk_at, chunk_count
from ggship.gguf.reader import TensorInfo
from ggship.gguf.updates.model import Surveyor, Update

CHUNKS_OF_ITEM = 8  # so much work that handing it out costs nothing, so little that all workers end together

Make = Callable[[int], Update | None]


@dataclass(frozen=True, slots=True)
class Item:
    """Some chunks of one tensor, or some slabs of one that is copied. tensor: its number in the base."""

    tensor: int
    first: int
    count: int


class Job:
    """All that a merge does to the tensors of a base.

    pairs: each tensor of the base with its place in the merged file. makers: of those that change, by name, what makes
    the update of a matrix. `do` may run in several threads, or in processes forked from this one.
    Law: what `do` gives depends on the item alone, so that sums over the items in their order are always the same.
    """

    def __init__(
        self, pairs: Sequence[tuple[TensorInfo, TensorInfo]], makers: Mapping[str, Make], worker: ChunkWorker
    ) -> None:
        self._pairs = pairs
        self._makers = makers
        self._worker = worker
        self._local = threading.local()
        self._lock = threading.Lock()
        self._written = array("Q")  # offset, count, checksum
        self._copied = array("Q")  # source, target, count
        self.items = [item for number in range(len(pairs)) for item in self._items_of(number)]

    def do(self, number: int) -> Measured:
        """Do one item; what its chunks have seen, added up in their order."""
        item = self.items[number]
        source, target = self._pairs[item.tensor]
        if self._is_copied(item.tensor):
            self._copy(source, target, item)
            return Measured()
        kept = base = update = 0.0
        for at in range(item.first, item.first + item.count):
            chunk = chunk_at(source, target, at)
            change = self._update_of(item.tensor, chunk.matrix)
            norm = change.squared_norm() if change is not None else 0.0
            seen = self._worker.change(chunk, change, measure=norm is None)
            self._enter(self._written, chunk.target_offset, chunk.nbytes, seen.checksum)
            kept, base = kept + seen.kept, base + seen.base
            update += seen.update if norm is None else (norm if chunk.first_in_matrix == 0 else 0.0)
        return Measured(kept, base, update=update)

    def verify(self, part: int, parts: int) -> None:
        """Read back a share of what `do` wrote in this process; BadFile where it is not what was written."""
        for numbers, check in ((self._written, self._worker.check), (self._copied, self._worker.check_copy)):
            for at in range(3 * part, len(numbers), 3 * parts):
                check(*numbers[at : at + 3])

    def _is_copied(self, tensor: int) -> bool:
        source, target = self._pairs[tensor]
        return source.name not in self._makers and target.type is source.type

    def _items_of(self, tensor: int) -> list[Item]:
        source = self._pairs[tensor][0]
        if self._is_copied(tensor):
            return [Item(tensor, slab, 1) for slab in range(-(-source.nbytes // COPY_BYTES))]
        count = chunk_count(source)
        starts = range(0, count, CHUNKS_OF_ITEM)
        return [Item(tensor, first, min(CHUNKS_OF_ITEM, count - first)) for first in starts]

    def _copy(self, source: TensorInfo, target: TensorInfo, item: Item) -> None:
        start = item.first * COPY_BYTES
        span = (source.offset + start, target.offset + start, min(COPY_BYTES, source.nbytes - start))
        self._worker.copy(*span)
        self._enter(self._copied, *span)

    def _update_of(self, tensor: int, matrix: int) -> Update | None:
        """The update of one matrix, the last one kept: items of one matrix follow each other."""
        source, target = self._pairs[tensor]
        make = self._makers.get(source.name)
        if make is None:
            return None
        key, update = getattr(self._local, "update", (None, None))
        if key != (tensor, matrix):
            self._local.update = (None, None)  # the memory of the last one is free before the next one is made
            update = make(matrix)
            if isinstance(update, Surveyor):
                update.settle(self._worker.survey_matrix(source, target, matrix, update))
            self._local.update = ((tensor, matrix), update)
        return update

    def _enter(self, numbers: array[int], *values: int) -> None:
        with self._lock:
            numbers.extend(values)
