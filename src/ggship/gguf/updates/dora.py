"""DoRA: the direction is LoRA's, the length of each row is trained by itself.

W' = m * (W + s B A) / |W + s B A|, the norm over each row (PEFT: tuners/lora/dora.py, DoraLinearLayer.get_weight_norm;
variants.py, DoraLinearVariant.merge_safe). mlx-lm computes the same (mlx_lm/tuner/dora.py, DoRALinear). Of an embedding
the norm is over each column, over the whole vocabulary (DoraEmbeddingVariant.merge_safe).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ggship.gguf.exact import Pieces, column_sums, finish, product, row_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.gguf.scratch import Scratch

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]


class DoraRows:
    """DoRA of a linear layer. b: float64 [rows, r], the scale in it; a: [r, columns]; magnitudes: [rows]."""

    def __init__(self, b: Doubles, a: Doubles, magnitudes: Doubles) -> None:
        self._b, self._a = Pieces(b, axis=1), Pieces(a, axis=0)
        self._magnitudes = magnitudes

    def squared_norm(self) -> None:
        """Only the merge can tell it."""

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Merge the rows from `start` on; a row of length zero becomes NaN, as in PEFT."""
        total = scratch.array("total", weights.shape, np.float64)
        product(self._b, self._a, total, scratch, start)
        np.add(total, weights, out=total)
        squares = np.multiply(total, total, out=scratch.array("squares", weights.shape, np.float64))
        magnitudes = self._magnitudes[start : start + len(weights)]
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = magnitudes / np.sqrt(row_sums(squares))
            np.multiply(total, factors[:, None], out=total)
        return finish(weights, total, scratch)


class DoraColumns:
    """DoRA of an embedding: as DoraRows, but magnitudes: [columns], and the norms are over all rows together."""

    def __init__(self, b: Doubles, a: Doubles, magnitudes: Doubles) -> None:
        self._b, self._a = Pieces(b, axis=1), Pieces(a, axis=0)
        self._magnitudes = magnitudes
        self._factors: Doubles | None = None

    def squared_norm(self) -> None:
        """Only the merge can tell it."""

    def survey(self, start: int, weights: Floats, scratch: Scratch) -> Doubles:
        """The sums of squares of these rows' columns."""
        total = self._total(start, weights, scratch)
        np.multiply(total, total, out=total)
        return column_sums(total)

    def settle(self, sums: Doubles) -> None:
        """Take the sums of squares of all columns."""
        with np.errstate(divide="ignore", invalid="ignore"):
            self._factors = self._magnitudes / np.sqrt(sums)

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Merge the rows from `start` on; settle() must have been called."""
        if self._factors is None:
            raise RuntimeError("an embedding with DoRA is merged before its columns were measured")
        total = self._total(start, weights, scratch)
        with np.errstate(invalid="ignore"):
            np.multiply(total, self._factors, out=total)
        return finish(weights, total, scratch)

    def _total(self, start: int, weights: Floats, scratch: Scratch) -> Doubles:
        total = scratch.array("total", weights.shape, np.float64)
        product(self._b, self._a, total, scratch, start)
        np.add(total, weights, out=total)
        return total
