"""Weights that training put in place of the base's: whole modules, or single rows of an embedding.

PEFT: utils/other.py, ModulesToSaveWrapper (modules_to_save) and TrainableTokensWrapper; TrainableTokensLayer.merge in
tuners/trainable_tokens/layer.py (index_copy: the rows are replaced, whatever the name trainable_tokens_delta says).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ggship.gguf.exact import finish

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.gguf.scratch import Scratch
    from ggship.gguf.updates.rows import RowSource

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]
    Rows = NDArray[np.intp]


class Replacement:
    """W' = rows of `source`. order: for each row in GGUF, the source's; None where they are the same."""

    def __init__(self, source: RowSource, order: Rows | None = None) -> None:
        self._source = source
        self._order = order

    def squared_norm(self) -> None:
        """Only the merge can tell it."""

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Replace the rows from `start` on."""
        rows = np.arange(start, start + len(weights))
        merged: Floats = scratch.array("merged", weights.shape, np.float32)
        self._source.read(rows if self._order is None else self._order[rows], merged)
        delta = scratch.array("delta", weights.shape, np.float64)
        np.subtract(merged, weights, out=delta, dtype=np.float64)
        return delta, merged


class RowReplacement:
    """W' = W, but for the rows numbered `rows` [k] (in GGUF's order), which become `values` float32 [k, columns].

    Where a row is there twice the last one counts, as with torch's index_copy on a CPU.
    """

    def __init__(self, rows: Rows, values: Floats) -> None:
        last = dict(zip(rows.tolist(), range(len(rows)), strict=True))
        self._rows = np.array(sorted(last), np.intp)
        self._values = values[[last[row] for row in sorted(last)]]

    def squared_norm(self) -> None:
        """Only the merge can tell it."""

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Replace those of the rows from `start` on that are named."""
        total = scratch.array("total", weights.shape, np.float64)
        np.copyto(total, weights)
        first, last = np.searchsorted(self._rows, (start, start + len(weights)))
        total[self._rows[first:last] - start] = self._values[first:last]
        return finish(weights, total, scratch)
