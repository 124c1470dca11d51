"""Rows of a tensor in a file, read when they are needed: a whole embedding is never in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.intp]


class RowSource(Protocol):
    """A matrix [rows, columns] whose rows can be read by number, from several threads at once."""

    shape: tuple[int, int]

    def read(self, rows: Rows, out: Floats) -> None:
        """Read these rows as float32 into `out` [len(rows), columns]. AdapterUnusable for NaN or Inf."""
        ...


class RowsInMemory:
    """A RowSource of an array: for what is small."""

    def __init__(self, array: Floats) -> None:
        self._array = array
        self.shape: tuple[int, int] = (array.shape[0], array.shape[1])

    def read(self, rows: Rows, out: Floats) -> None:
        """These rows."""
        np.take(self._array, rows, axis=0, out=out)
