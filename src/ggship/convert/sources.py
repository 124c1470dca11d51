"""The tensors of an adapter as a merge wants them: whole small ones in float64, large ones row by row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ggship.convert.tensors import TensorReader, refuse_nonfinite, stored_type, to_float32
from ggship.errors import BadFile
from ggship.runs.model import TensorHeader

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]


class AdapterTensors:
    """Reads what headers name; every file is open until close()."""

    def __init__(self) -> None:
        self._reader = TensorReader()
        self._files: dict[Path, int] = {}

    def read(self, header: TensorHeader) -> Doubles:
        """The whole tensor in float64, every number a float32.

        Raises BadFile where the file ends too early, AdapterUnusable for NaN or Inf.
        """
        return to_float32(header, self._reader.read(header)).astype(np.float64)

    def rows(self, header: TensorHeader) -> RowsOnDisk:
        """The same, row by row; a vector is one row."""
        if header.file not in self._files:
            self._files[header.file] = os.open(header.file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        return RowsOnDisk(header, self._files[header.file])

    def close(self) -> None:
        """Close all files."""
        self._reader.close()
        while self._files:
            os.close(self._files.popitem()[1])


@contextmanager
def adapter_tensors() -> Iterator[AdapterTensors]:
    """AdapterTensors that are closed at the end."""
    tensors = AdapterTensors()
    try:
        yield tensors
    finally:
        tensors.close()


class RowsOnDisk:
    """A RowSource of one tensor in a safetensors file; may be read from several threads."""

    def __init__(self, header: TensorHeader, file: int) -> None:
        self._header = header
        self._file = file
        self._type = np.dtype(stored_type(header))
        columns = header.shape[-1] if header.shape else 1
        rows = header.shape[0] if len(header.shape) > 1 else 1
        self.shape: tuple[int, int] = (rows, columns)

    def read(self, rows: NDArray[np.intp], out: Floats) -> None:
        """Read these rows into `out`; those that follow one another in the file, at once.

        Raises BadFile where the file ends too early, AdapterUnusable for NaN or Inf.
        """
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for run in np.split(np.arange(len(rows)), breaks):
            if len(run):
                out[run[0] : run[-1] + 1] = self._read(int(rows[run[0]]), len(run))

    def _read(self, first: int, count: int) -> Floats:
        row = self.shape[1] * self._type.itemsize
        data = os.pread(self._file, count * row, self._header.offset + first * row)
        if len(data) != count * row:
            raise BadFile(
                "the adapter became shorter while it was read", where=f"{self._header.file.name}: {self._header.name}"
            )
        stored = np.frombuffer(data, self._type).reshape(count, self.shape[1])
        refuse_nonfinite(self._header, stored)
        result: Floats = to_float32(self._header, stored)
        return result
