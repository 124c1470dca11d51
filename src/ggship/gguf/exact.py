"""B @ A in float64 with the same bits on every machine, whatever the BLAS, its kernels and its threads.

A product in floating point depends on the order of its sums. Here the factors are cut into pieces of so few bits that
every product and every partial sum of a piece is a float64 without rounding: then no order can matter (Ozaki, Ogita,
Oishi, Rump: Error-free transformations of matrix multiplication, 2012). What the pieces leave out is below 2**-40 of
the longest row times the longest column.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ggship.gguf.lowrank import multiply
from ggship.gguf.scratch import Scratch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]

_EXACT_BITS = 53  # whole numbers up to 2**53 are float64 without rounding


class Pieces:
    """A factor cut in two: high + low is the factor, but for what is below 2**(-2 bits) of its row's largest number.

    rows: float64 [..., k, n] or [..., n, k]; `axis` is that of the sum, of length k, along which the scale is common.
    """

    def __init__(self, factor: Doubles, axis: int) -> None:
        bits = piece_bits(factor.shape[axis])
        largest = np.abs(factor).max(axis=axis, keepdims=True, initial=0.0)
        unit = np.ldexp(1.0, np.frexp(largest)[1] - bits)  # largest < 2**bits units
        self.high = np.rint(factor / unit) * unit
        unit *= 2.0**-bits
        self.low = np.rint((factor - self.high) / unit) * unit


def piece_bits(terms: int) -> int:
    """Bits of a piece, so that a sum of so many products of two pieces is exact."""
    return (_EXACT_BITS - max(1, math.ceil(math.log2(max(terms, 2)))) - 1) // 2


def product(b: Pieces, a: Pieces, out: Doubles, scratch: Scratch, start: int = 0) -> None:
    """Rows of b @ a from `start` on into `out`, as many as it has. b: cut along axis 1, a: cut along axis 0.

    Law: the same bits whatever computes the three products, since each of them is exact.
    """
    rows = slice(start, start + len(out))
    aside = scratch.array("product", out.shape, np.float64)
    multiply(b.high[rows], a.high, out)
    multiply(b.high[rows], a.low, aside)
    rest = scratch.array("rest", out.shape, np.float64)
    multiply(b.low[rows], a.high, rest)
    np.add(aside, rest, out=aside)
    np.add(out, aside, out=out)


def exact_product(b: Doubles, a: Doubles) -> Doubles:
    """The whole of a small b @ a, with the same bits everywhere."""
    out = np.empty((b.shape[0], a.shape[1]))
    product(Pieces(b, axis=1), Pieces(a, axis=0), out, Scratch())
    return out


def row_sums(table: Doubles) -> Doubles:
    """The sum of each row [n, columns] -> [n], in an order that no machine changes; overwrites the table.

    Halves are added to each other, number by number: a reduction would be ordered by the vector width of the CPU.
    """
    width = table.shape[1]
    if not width:
        return np.zeros(len(table))
    while width > 1:
        half = (width + 1) // 2
        np.add(table[:, : width - half], table[:, half:width], out=table[:, : width - half])
        width = half
    sums: Doubles = table[:, 0].copy()
    return sums


def column_sums(table: Doubles) -> Doubles:
    """The sum of each column [n, columns] -> [columns], in the order of the rows; overwrites the table."""
    height = len(table)
    if not height:
        return np.zeros(table.shape[1])
    while height > 1:
        half = (height + 1) // 2
        np.add(table[: height - half], table[half:height], out=table[: height - half])
        height = half
    sums: Doubles = table[0].copy()
    return sums


def finish(weights: Floats, total: Doubles, scratch: Scratch) -> tuple[Doubles, Floats]:
    """(D, merged) of weights that become `total`: D = total - W, merged is total rounded to float32."""
    delta = np.subtract(total, weights, out=scratch.array("delta", weights.shape, np.float64))
    merged = scratch.array("merged", weights.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(merged, total, casting="same_kind")
    return delta, merged
