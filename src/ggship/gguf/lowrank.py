"""W + B @ A, correctly rounded: the same bytes on every machine.

A matrix product in floating point depends on the order of its sums, and every BLAS, CPU and thread count has its own.
The float32 nearest to the exact value has no order. So the product is computed in float64, and where its error could
reach across the middle between two float32 (some 1 in 20,000 weights) the sum is done again without any error.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from ggship.gguf.compiled import compiled
from ggship.gguf.scratch import Scratch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]

# OpenBLAS starts no threads of its own for a product of at most this many multiplications (interface/gemm.c); we
# already keep every core busy, and its threads would spin beside ours.
_SINGLE_THREADED = 262_144
_TILE_ROWS = 64

# A float64 has 29 bits more than a float32: these say where between two float32 it lies, and 2**28 is the middle.
_BELOW = 1 << 29
_MIDDLE = 1 << 28
_NEAR = 1 << 13  # nearer to the middle than this, in units of the last place of a float64, is done again
_FRACTION = (1 << 52) - 1
_SMALLEST_NORMAL = 2.0**-126
_FEW = 100  # sums that Python's fsum does one by one sooner than numpy does all at once
_SPLITTER = 134_217_729.0  # 2**27 + 1: Veltkamp's, cuts 53 bits into two halves of 26


class LowRank:
    """The update B @ A of one matrix. b: float64 [rows, r]; a: float64 [r, columns], every value a float32.

    Law: merge() gives the float32 nearest to the exact W + B @ A, ties to even, whatever the BLAS and the blocks.
    """

    def __init__(self, b: Doubles, a: Doubles) -> None:
        self.b = b = np.ascontiguousarray(b, np.float64)
        self.a = a = np.ascontiguousarray(a, np.float64)
        self.shape = (b.shape[0], a.shape[1])
        self._tiles: Doubles | None = None  # of a, for the compiled loops
        rank = a.shape[0]
        # |computed - exact| <= (r + 1) u |b| |a|, with Cauchy-Schwarz for the sum of absolute products.
        longest = math.sqrt(float(np.einsum("ij,ij->j", a, a).max(initial=0.0)))
        lengths = np.sqrt(np.einsum("ij,ij->i", b, b))
        self._unsafe_below = np.maximum((rank + 2) * 1.01 * longest * lengths / (_NEAR - 1), _SMALLEST_NORMAL)
        self._unsafe_below[lengths * longest == 0.0] = 0.0
        self._unsafe_below = self._unsafe_below.astype(np.float32) * np.float32(1.001)
        self._units = _units(a).min(initial=np.inf) * _units(b).min(axis=1, initial=np.inf)
        self._reach = 1.01 * longest * lengths  # no sum of some of a weight's products is larger

    def squared_norm(self) -> float:
        """The sum of squares of B @ A, from two r x r matrices: nothing of the size of the weights is made."""
        return max(0.0, float(np.einsum("ij,ij->", self.b.T @ self.b, self.a @ self.a.T)))

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Merge the rows from `start` on, as many as `weights` has: (B @ A, merged), both in `scratch`.

        weights: float32 [n, columns], left as it is. Merged weights overflow to Inf where W + B @ A does.
        """
        delta = scratch.array("delta", weights.shape, np.float64)
        merged = scratch.array("merged", weights.shape, np.float32)
        rows = slice(start, start + len(weights))
        loops = compiled()
        if loops is not None:
            if self._tiles is None:
                self._tiles = loops.tiles(self.a)  # by two threads at once: the same twice
            unsafe = loops.merge(self.b[rows], self._tiles, self.known(rows), weights, delta, merged)
        else:
            unsafe = self._by_numpy(rows, weights, delta, merged, scratch)
        if unsafe.size:
            self._make_exact(start, unsafe, weights, merged)
        return delta, merged

    def known(self, rows: slice) -> tuple[Floats, Doubles, Doubles]:
        """What tells of some rows' weights whether they were rounded rightly. See Compiled.merge."""
        return self._unsafe_below[rows], self._units[rows], self._reach[rows]

    def _make_exact(self, start: int, unsafe: NDArray[np.int64], weights: Floats, merged: Floats) -> None:
        rows, columns = np.divmod(unsafe, weights.shape[1])
        rounded = self._rounded(start + rows, weights[rows, columns])
        rows, columns = rows[rounded], columns[rounded]
        merged[rows, columns] = self._exact(start + rows, columns, weights[rows, columns])

    def _by_numpy(
        self, rows: slice, weights: Floats, delta: Doubles, merged: Floats, scratch: Scratch
    ) -> NDArray[np.int64]:
        """Compute `delta` and `merged`; the flat indices of what may be rounded wrongly. See Compiled.merge."""
        total = scratch.array("total", weights.shape, np.float64)
        multiply(self.b[rows], self.a, delta)
        np.copyto(total, weights)  # then in place: a sum of two types would be cast piece by piece, at half the speed
        np.add(total, delta, out=total)
        with np.errstate(over="ignore"):
            np.copyto(merged, total, casting="same_kind")
        limits = self._unsafe_below[rows, None]
        sizes = np.abs(merged, out=scratch.array("sizes", merged.shape, np.float32))
        small = np.less(sizes, limits, out=scratch.array("small", merged.shape, np.bool_))
        bits = total.view(np.int64)
        np.subtract(bits, _MIDDLE - _NEAR, out=bits)
        np.bitwise_and(bits, _BELOW - 1, out=bits)
        near = np.less_equal(bits, 2 * _NEAR, out=scratch.array("near", merged.shape, np.bool_))
        return np.flatnonzero(np.logical_or(small, near, out=near))

    def _rounded(self, rows: NDArray[np.intp], weights: Floats) -> NDArray[np.bool_]:
        """Which of these sums a float64 may have rounded; the others were exact, in whatever order they were added.

        Half-precision factors have few bits: their products are multiples of a unit that 2**53 of reach further than
        the sum can. Then a sum in the very middle is a true tie, and a hundredth of all weights may be one.
        """
        wide = weights.astype(np.float64)
        unit = np.minimum(self._units[rows], _units(wide))
        exact: NDArray[np.bool_] = self._reach[rows] + np.abs(wide) < unit * 2.0**53
        return ~exact

    def _exact(self, rows: NDArray[np.intp], columns: NDArray[np.intp], weights: Floats) -> Doubles:
        """These merged weights, without any rounding before the last."""
        b, a = self.b[rows], self.a[:, columns].T
        big = b * _SPLITTER
        high = big - (big - b)
        terms = np.hstack([weights[:, None].astype(np.float64), high * a, (b - high) * a])  # exact products, all
        return _sums_rounded_once(terms)


def _units(values: Doubles) -> Doubles:
    """For each number the largest power of two that it is a multiple of, or a smaller one; Inf for zero."""
    bits = np.ascontiguousarray(values).view(np.int64)
    fractions = (bits & _FRACTION) | (_FRACTION + 1)
    lowest = (fractions & -fractions).astype(np.float64).view(np.int64) >> 52  # its exponent, 1023 + which bit it is
    exponents = ((bits >> 52) & 0x7FF) + lowest - (1023 + 52)
    units: Doubles = (np.maximum(exponents, 0) << 52).view(np.float64)
    units[values == 0.0] = np.inf
    return units


def _sums_rounded_once(terms: Doubles) -> Doubles:
    """For each row a float64 that rounds to the same float32 as the exact sum of the row.

    Knuth's two-sum keeps the error of every addition; where the errors themselves add up without error, as they do for
    half-precision adapters, total + rest is the exact sum. The few other rows are done one by one.
    """
    if len(terms) <= _FEW:
        return np.array([_rounded_once(row) for row in terms.tolist()], np.float64)
    total, rest = terms[:, 0].copy(), np.zeros(len(terms))
    inexact = np.zeros(len(terms), np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        for column in terms.T[1:]:
            total, error = _two_sum(total, column)
            rest, lost = _two_sum(rest, error)
            inexact |= lost != 0.0
        total, rest = _two_sum(total, rest)
    tie = (total.view(np.int64) & (_BELOW - 1)) == _MIDDLE
    aside = tie & (rest != 0.0)
    total[aside] = np.nextafter(total[aside], np.copysign(np.inf, rest[aside]))
    for row in np.flatnonzero(inexact | ~np.isfinite(total) | ~np.isfinite(rest)):
        total[row] = _rounded_once(terms[row].tolist())
    return total


def _two_sum(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    """(a + b rounded, what rounding lost): together exact (Knuth, TAOCP 2, 4.2.2)."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def _rounded_once(terms: list[float]) -> float:
    """A float64 that rounds to the same float32 as the exact sum of the terms."""
    if not math.isfinite(sum(terms)):
        return sum(terms)
    total = math.fsum(terms)
    if struct.unpack("<q", struct.pack("<d", total))[0] & (_BELOW - 1) == _MIDDLE:  # seems to be a tie: is it one?
        rest = math.fsum([*terms, -total])
        if rest:
            return float(np.nextafter(total, math.copysign(math.inf, rest)))
    return total


def multiply(b: Doubles, a: Doubles, out: Doubles) -> None:
    """Compute b @ a into `out`, in tiles that BLAS computes in the calling thread."""
    rows, columns = out.shape
    rank = a.shape[0]
    high = min(rows, _TILE_ROWS)
    wide = max(8, _SINGLE_THREADED // (high * max(1, rank)) // 8 * 8)
    whole_rows, whole_columns = rows - rows % high, columns - columns % wide
    if whole_columns:
        left = a[:, :whole_columns].reshape(rank, -1, wide).swapaxes(0, 1)
        for start in range(0, whole_rows, high):
            target = out[start : start + high, :whole_columns].reshape(high, -1, wide).swapaxes(0, 1)
            np.matmul(b[start : start + high], left, out=target)
    if whole_columns < columns:
        for start in range(0, whole_rows, high):
            np.matmul(b[start : start + high], a[:, whole_columns:], out=out[start : start + high, whole_columns:])
    if whole_rows < rows:
        np.matmul(b[whole_rows:], a, out=out[whole_rows:])
