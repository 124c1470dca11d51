"""IA3: rows or columns of a weight are multiplied by trained numbers.

PEFT: tuners/ia3/layer.py, Linear.merge: ia3_l is [out, 1], or [1, in] for a feed-forward module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ggship.gguf.exact import finish

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.gguf.scratch import Scratch

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]


class Scaled:
    """W' = factors * W: float64 [rows] in GGUF's order, or [columns] with `columns`."""

    def __init__(self, factors: Doubles, *, columns: bool = False) -> None:
        self._factors = factors
        self._columns = columns

    def squared_norm(self) -> None:
        """Only the merge can tell it."""

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Scale the rows from `start` on."""
        total = scratch.array("total", weights.shape, np.float64)
        factors = self._factors if self._columns else self._factors[start : start + len(weights), None]
        np.multiply(weights, factors, out=total)
        return finish(weights, total, scratch)
