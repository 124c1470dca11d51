"""The loops of kernels.c, where ggship was installed with a C compiler: several times as fast, and the same bytes.

ctypes releases the GIL while they run. Arrays are C-ordered.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ggship.gguf.installed import compiled_kernels
from ggship.gguf.types import GgmlType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.gguf.quantize import Kernels

    Bytes = NDArray[np.uint8]
    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]

_TILE = 8  # columns
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64
_QUANTIZERS = {
    GgmlType.Q4_K: "ggship_quantize_q4_k",
    GgmlType.Q5_K: "ggship_quantize_q5_k",
    GgmlType.Q6_K: "ggship_quantize_q6_k",
}


class Compiled:
    """The functions of one library made of kernels.c. Raises OSError where it cannot be loaded."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._quantizers = {kind: self._function(name, None, 2, 1) for kind, name in _QUANTIZERS.items()}
        self._quantize_q8_0 = self._function("ggship_quantize_q8_0", ctypes.c_int32, 2, 1)
        self._read_f16 = self._function("ggship_read_f16", None, 2, 1)
        self._measure = self._function("ggship_measure", None, 3, 1, 1)
        self._merge = self._function("ggship_merge", _COUNT, 3, 3, 6, 1)

    def writes(self, kind: GgmlType) -> bool:
        """Whether `quantize` knows the type."""
        return kind in self._quantizers or kind is GgmlType.Q8_0

    def quantize(self, kind: GgmlType, rows: Floats, out: Bytes) -> bool:
        """float32 weights [n, columns] -> bytes, into `out`, of a type that `writes` knows.

        False, with `out` unfinished, for weights of Q8_0 so small that C leaves open what ggml makes of them.
        """
        blocks = rows.size // kind.block
        if kind is GgmlType.Q8_0:
            return bool(self._quantize_q8_0(rows.ctypes.data, out.ctypes.data, blocks))
        self._quantizers[kind](rows.ctypes.data, out.ctypes.data, blocks)
        return True

    def read_half(self, data: Bytes, out: Floats) -> None:
        """F16 -> float32, into `out`."""
        self._read_f16(data.ctypes.data, out.ctypes.data, out.size)

    def tiles(self, a: Doubles) -> Doubles:
        """`a` [r, columns] as `merge` wants it: [columns / 8, r, 8], with zeros behind the last column."""
        rank, columns = a.shape
        tiles = np.zeros((-(-columns // _TILE), rank, _TILE))
        whole = columns // _TILE
        tiles[:whole] = a[:, : whole * _TILE].reshape(rank, whole, _TILE).swapaxes(0, 1)
        if whole < len(tiles):
            tiles[whole, :, : columns % _TILE] = a[:, whole * _TILE :]
        return tiles

    def merge(
        self,
        b: Doubles,
        tiles: Doubles,
        known: tuple[Floats, Doubles, Doubles],
        weights: Floats,
        delta: Doubles,
        merged: Floats,
    ) -> NDArray[np.int64]:
        """Compute delta = b @ a and merged = weights + delta, rounded once, but for the weights it gives.

        b: [n, r], tiles: of a [r, columns], weights: [n, columns]. known: of each row the size below which a merged
        weight is unsafe, a power of two that its products are multiples of, a bound of their sums.
        The weights whose flat indices are given may have been rounded by the error of their sum.
        """
        weights = np.ascontiguousarray(weights)
        room = 1024
        while True:
            unsafe = np.empty(room, np.int64)
            found = self._merge(
                *(part.ctypes.data for part in (weights, b, tiles)),
                *(*weights.shape, b.shape[1]),
                *(part.ctypes.data for part in (*known, delta, merged, unsafe)),
                room,
            )
            if found <= room:
                return unsafe[:found]
            room = found

    def measure(self, stored: Floats, weights: Floats, delta: Doubles) -> tuple[float, float]:
        """(<stored - weights, delta>, <weights, weights>), summed in float64, in the same order on every processor."""
        seen, delta = np.empty(2), np.ascontiguousarray(delta)
        self._measure(stored.ctypes.data, weights.ctypes.data, delta.ctypes.data, weights.size, seen.ctypes.data)
        return float(seen[0]), float(seen[1])

    def _function(self, name: str, result: Any, *groups: int) -> Any:
        """A function whose arguments are so many pointers, then so many counts, and so on in turns."""
        function = getattr(self._library, name)
        function.restype = result
        function.argtypes = [(_POINTER, _COUNT)[place % 2] for place, many in enumerate(groups) for _ in range(many)]
        return function


class CompiledKernels:
    """Quantizes and reads what kernels.c knows, and leaves all else to `inner`."""

    def __init__(self, compiled: Compiled, inner: Kernels) -> None:
        self.name = f"{inner.name} and kernels.c"
        self._compiled = compiled
        self._inner = inner

    def reads(self, kind: GgmlType) -> bool:
        """Whether `inner` knows the type."""
        return self._inner.reads(kind)

    def writes(self, kind: GgmlType) -> bool:
        """Whether kernels.c, or else `inner`, can write the type."""
        return self._compiled.writes(kind) or self._inner.writes(kind)

    def dequantize(self, kind: GgmlType, data: Bytes, out: Floats) -> None:
        """Bytes of whole rows -> float32 weights."""
        if kind is GgmlType.F16:
            self._compiled.read_half(data, out)
        else:
            self._inner.dequantize(kind, data, out)

    def quantize(self, kind: GgmlType, rows: Floats, out: Bytes) -> None:
        """float32 weights -> bytes."""
        if not self._compiled.writes(kind) or not self._compiled.quantize(kind, rows, out):
            self._inner.quantize(kind, rows, out)


@lru_cache(maxsize=1)
def compiled() -> Compiled | None:
    """What this installation has, or None."""
    library = compiled_kernels()
    if library is None:
        return None
    try:
        return Compiled(library)
    except (OSError, AttributeError):  # made for another machine: a home folder may be shared
        return None


def with_compiled(inner: Kernels) -> Kernels:
    """`inner`, with the loops of kernels.c where there are any."""
    found = compiled()
    return inner if found is None else CompiledKernels(found, inner)
