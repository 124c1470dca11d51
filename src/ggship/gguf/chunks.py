"""The pieces of work of a merge: so many rows read, changed, written and measured."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ggship.errors import BadFile, NotExpressible
from ggship.gguf.compiled import compiled
from ggship.gguf.parts import Source, read_into
from ggship.gguf.quantize import Kernels
from ggship.gguf.reader import TensorInfo
from ggship.gguf.scratch import Scratch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.gguf.updates.model import Surveyor, Update
    from ggship.gguf.writer import GgufWriter

CHUNK_WEIGHTS = 1 << 17  # the arrays of one chunk stay in a core's second-level cache
COPY_BYTES = 1 << 22
ZEROS = -1
"""The offset of a source tensor that is nowhere: all zeros."""
# No type that can be written makes Inf of a weight smaller than this: scales are halves, and never exceed the weights.
_FITS_EVERY_TYPE = 65504.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of one matrix of a tensor. first: its first row, counted over all matrices of the tensor."""

    source: TensorInfo
    target: TensorInfo
    first: int
    rows: int
    matrix: int
    first_in_matrix: int

    @property
    def source_offset(self) -> int:
        """Where its bytes begin in the base."""
        return self.source.offset + self.first * self.source.type.row_bytes(self.source.columns)

    @property
    def target_offset(self) -> int:
        """Where its bytes begin in the merged file."""
        return self.target.offset + self.first * self.target.type.row_bytes(self.target.columns)

    @property
    def nbytes(self) -> int:
        """Its bytes in the merged file."""
        return self.rows * self.target.type.row_bytes(self.target.columns)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a chunk, or some of them, have seen. kept: <Q(W + D) - W, D>. base: <W, W>. update: <D, D>, where asked for.

    checksum: of the bytes written.
    """

    kept: float = 0.0
    base: float = 0.0
    checksum: int = 0
    update: float = 0.0


def chunk_count(source: TensorInfo) -> int:
    """How many chunks a tensor is cut into: its shape alone tells."""
    matrix_rows, step = _steps(source)
    return source.rows // matrix_rows * -(-matrix_rows // step) if matrix_rows else 0


def chunk_at(source: TensorInfo, target: TensorInfo, number: int) -> Chunk:
    """One of a tensor's chunks, by its number."""
    matrix_rows, step = _steps(source)
    matrix, place = divmod(number, -(-matrix_rows // step))
    start = place * step
    return Chunk(source, target, matrix * matrix_rows + start, min(step, matrix_rows - start), matrix, start)


def _steps(source: TensorInfo) -> tuple[int, int]:
    """(rows of a matrix, rows of a chunk)."""
    return source.shape[-2] if len(source.shape) > 1 else 1, max(1, CHUNK_WEIGHTS // max(1, source.columns))


class ChunkWorker:
    """Does chunks; `source` is the open base. Its methods may run in several threads at once."""

    def __init__(self, source: Source, writer: GgufWriter, kernels: Kernels) -> None:
        self._source = source
        self._writer = writer
        self._kernels = kernels
        self._local = threading.local()

    def survey_matrix(
        self, source: TensorInfo, target: TensorInfo, matrix: int, update: Surveyor
    ) -> NDArray[np.float64]:
        """What the update wants to have seen of all rows of its matrix before it merges any: their sums, in order."""
        matrix_rows, step = _steps(source)
        count = -(-matrix_rows // step)
        chunks = [chunk_at(source, target, number) for number in range(matrix * count, (matrix + 1) * count)]
        scratch = self._scratch
        sums = [update.survey(chunk.first_in_matrix, self._read(chunk, scratch), scratch) for chunk in chunks]
        return sum(sums[1:], start=sums[0])

    def change(self, chunk: Chunk, update: Update | None, measure: bool = False) -> Measured:
        """Merge the update into the rows, or none; store them as the target type; measure what is left of it.

        measure: its own norm as well, which not every update knows.
        """
        scratch = self._scratch
        weights = self._read(chunk, scratch)
        if update is None:
            largest = _largest(weights, chunk.source.name)
            checksum = self._store(chunk, weights, scratch)
            if largest > _FITS_EVERY_TYPE:
                self._require_stored(chunk, scratch)
            return Measured(checksum=checksum)
        delta, merged = update.merge(chunk.first_in_matrix, weights, scratch)
        norm = float(np.einsum("ij,ij->", delta, delta)) if measure else 0.0
        checksum = self._store(chunk, merged, scratch)
        stored = scratch.array("merged", merged.shape, np.float32)
        self._kernels.dequantize(chunk.target.type, self._encoded(chunk, scratch), stored)
        kept, base = _measure(stored, weights, delta)
        if not np.isfinite(base):
            raise _not_finite(chunk.source.name)
        if not np.isfinite(kept):
            raise _too_large(chunk)
        return Measured(kept, base, checksum, norm)

    def copy(self, source: int, target: int, count: int) -> Measured:
        """Copy bytes as they are."""
        file, start = self._source.place(source)
        self._writer.copy_from(file, start, target, count)
        return Measured()

    def check(self, offset: int, count: int, checksum: int) -> None:
        """Read written bytes back; BadFile where they are others."""
        data = self._scratch.array("back", (count,), np.uint8)
        read_into(self._writer.fd, data.data, offset)
        if _checksum(data) != checksum:
            raise _differs(offset)

    def check_copy(self, source: int, target: int, count: int) -> None:
        """Compare copied bytes with the base's; BadFile where they are others."""
        back = self._scratch.array("back", (count,), np.uint8)
        wanted = self._scratch.array("wanted", (count,), np.uint8)
        read_into(self._writer.fd, back.data, target)
        self._source.read_into(wanted.data, source)
        if not np.array_equal(back, wanted):
            raise _differs(target)

    @property
    def _scratch(self) -> Scratch:
        found: Scratch | None = getattr(self._local, "scratch", None)
        if found is None:
            found = self._local.scratch = Scratch()
        return found

    def _read(self, chunk: Chunk, scratch: Scratch) -> NDArray[np.float32]:
        kind = chunk.source.type
        if chunk.source.offset == ZEROS:
            zeros: NDArray[np.float32] = scratch.array("weights", (chunk.rows, chunk.source.columns), np.float32)
            zeros.fill(0.0)
            return zeros
        data = scratch.array("read", (chunk.rows, kind.row_bytes(chunk.source.columns)), np.uint8)
        self._source.read_into(data.data.cast("B"), chunk.source_offset)
        weights: NDArray[np.float32] = scratch.array("weights", (chunk.rows, chunk.source.columns), np.float32)
        self._kernels.dequantize(kind, data, weights)
        return weights

    def _encoded(self, chunk: Chunk, scratch: Scratch) -> NDArray[np.uint8]:
        return scratch.array("encoded", (chunk.rows, chunk.nbytes // chunk.rows), np.uint8)

    def _require_stored(self, chunk: Chunk, scratch: Scratch) -> None:
        stored = scratch.array("merged", (chunk.rows, chunk.source.columns), np.float32)
        self._kernels.dequantize(chunk.target.type, self._encoded(chunk, scratch), stored)
        if not np.isfinite(stored).all():
            raise _too_large(chunk)

    def _store(self, chunk: Chunk, weights: NDArray[np.float32], scratch: Scratch) -> int:
        encoded = self._encoded(chunk, scratch)
        self._kernels.quantize(chunk.target.type, weights, encoded)
        self._writer.write_at(chunk.target_offset, encoded.data)
        return _checksum(encoded)


def _measure(
    stored: NDArray[np.float32], weights: NDArray[np.float32], delta: NDArray[np.float64]
) -> tuple[float, float]:
    """(<stored - W, D>, <W, W>), summed in float64, in which no sum of squares of float32 overflows."""
    loops = compiled()
    if loops is not None:
        return loops.measure(stored, weights, delta)
    base = float(np.einsum("ij,ij->", weights, weights, dtype=np.float64))
    return float(np.einsum("ij,ij->", np.subtract(stored, weights, out=stored), delta)), base


def _checksum(data: NDArray[np.uint8]) -> int:
    """The sum of the 64-bit words, each times its place: other for words that are missing, changed or swapped.

    Four times as fast as a CRC, so that checking costs no more than reading.
    """
    flat = data.reshape(-1)
    whole = flat.size // 8 * 8
    words = flat[:whole].view(np.uint64)
    rest = int.from_bytes(flat[whole:].tobytes(), "little")
    places = _places(words.size.bit_length())[: words.size]
    return (int(np.dot(words, places)) + rest) & 0xFFFFFFFFFFFFFFFF


@lru_cache(maxsize=4)
def _places(bits: int) -> NDArray[np.uint64]:
    return np.arange(1, (1 << bits) + 1, dtype=np.uint64)


def _largest(weights: NDArray[np.float32], name: str) -> float:
    """The largest magnitude; BadFile for NaN and Inf."""
    largest = float(max(weights.max(), -weights.min())) if weights.size else 0.0
    if not np.isfinite(largest):
        raise _not_finite(name)
    return largest


def _too_large(chunk: Chunk) -> NotExpressible:
    return NotExpressible(
        f"a weight is too large for {chunk.target.type_name}",
        where=chunk.source.name,
        hint="use --quant BF16 or F32",
    )


def _not_finite(name: str) -> BadFile:
    return BadFile("the base holds NaN or Inf", where=name, hint="download or convert the base again")


def _differs(offset: int) -> BadFile:
    return BadFile("the file read back is not what was written", where=f"at byte {offset}", hint="check the disk")
