"""One adapter tensor at a time: read from safetensors, checked for NaN and Inf, turned into the type to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ggship.convert.pairs import times
from ggship.errors import AdapterUnusable, BadFile, NotExpressible
from ggship.runs.model import TensorHeader

Array = NDArray[Any]

# safetensors' name -> numpy's type of the same bits. BF16 is unknown to numpy: its bits are kept as whole numbers.
_STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_KEPT = {("F32", "f32"), ("F16", "f16"), ("BF16", "bf16")}
_BF16_EXPONENT = 0x7F80


class TensorReader:
    """Reads the tensors that headers name, keeping one file open: memory of one tensor."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    def read(self, header: TensorHeader) -> Array:
        """The tensor's stored numbers, [shape]; BF16 as uint16 bits.

        Raises BadFile where the file ends too early or the type is none that weights have, AdapterUnusable for NaN or
        Inf, NotExpressible where a blend's weights make a number too large for float32.
        """
        if header.pieces:
            return self._joined(header)
        array = np.empty(header.shape[::-1] if header.transposed else header.shape, dtype=stored_type(header))
        file = self._open(header.file)
        file.seek(header.offset)
        got = file.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        if array.nbytes != header.nbytes or got != header.nbytes:
            raise BadFile(
                "the adapter file is cut off",
                where=f"{_place(header)}: {header.nbytes} bytes expected, {got} there",
                hint="copy it again from where training ran, or use a checkpoint that is whole",
                rule="GS004",
            )
        refuse_nonfinite(header, array)
        return np.ascontiguousarray(array.T) if header.transposed else array

    def _joined(self, header: TensorHeader) -> Array:
        """The pieces side by side: bits where all are kept as they are, else float32, each number rounded once."""
        if header.dtype != "F32":
            return np.concatenate([self.read(piece) for piece, _ in header.pieces], axis=header.axis)
        joined = np.empty(header.shape, np.float32)
        start = 0
        for piece, factor in header.pieces:
            numbers = to_float32(piece, self.read(piece))
            place = (slice(None),) * header.axis + (slice(start, start + piece.shape[header.axis]),)
            joined[place] = numbers if factor == 1.0 else times(numbers, factor)
            start += piece.shape[header.axis]
        if not np.isfinite(joined).all():
            raise NotExpressible(
                "the weights of the blend make numbers that are too large for any file",
                where=header.name,
                hint="use smaller weights",
                code="blend",
            )
        return joined

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
        self._file = self._path = None

    def _open(self, path: Path) -> BinaryIO:
        if self._file is None or self._path != path:
            self.close()
            self._file = path.open("rb", buffering=0)
            self._path = path
        return self._file


@contextmanager
def tensor_reader() -> Iterator[TensorReader]:
    """A TensorReader that is closed at the end."""
    reader = TensorReader()
    try:
        yield reader
    finally:
        reader.close()


def stored_type(header: TensorHeader) -> str:
    """Numpy's type of the bits that the file has. BadFile where it is none that weights have."""
    stored = _STORED.get(header.dtype)
    if stored is None:
        raise BadFile(f"{header.dtype} is no type that adapter weights can have", where=_place(header))
    return stored


def to_float32(header: TensorHeader, stored: Array) -> Array:
    """The numbers as float32: exact for F32, F16 and BF16, rounded for F64."""
    if header.dtype == "BF16":
        wide = stored.astype(np.uint32)
        wide <<= np.uint32(16)
        return wide.view(np.float32)
    return stored.astype(np.float32, copy=False)


def encode(header: TensorHeader, stored: Array, outtype: str) -> Array:
    """The numbers as GGUF holds them: float32, float16, or uint16 with BF16's bits, rounded to nearest even.

    Raises NotExpressible where a number is too large for the type (f16 ends at 65504).
    """
    if (header.dtype, outtype) in _KEPT:
        return stored
    return encode_float32(header, to_float32(header, stored), outtype)


def encode_float32(header: TensorHeader, numbers: Array, outtype: str) -> Array:
    """As `encode`, for numbers that are float32 already."""
    if outtype == "f32":
        return numbers
    if outtype == "f16":
        with np.errstate(over="ignore"):
            small = numbers.astype(np.float16)
        lost = int(np.count_nonzero(np.isinf(small)))
    else:
        bits = numbers.view(np.uint32)
        small = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
        lost = _nonfinite_bf16(small)
    if lost:
        raise NotExpressible(
            f"{lost} numbers of the adapter are too large for {outtype}", where=_place(header), hint="use --outtype f32"
        )
    return small


def is_zero(stored: Array) -> bool:
    """Whether every number is zero, of either sign."""
    return not (stored & 0x7FFF if stored.dtype == np.uint16 else stored).any()


def _nonfinite_bf16(bits: Array) -> int:
    return int(np.count_nonzero((bits & _BF16_EXPONENT) == _BF16_EXPONENT))


def refuse_nonfinite(header: TensorHeader, stored: Array) -> None:
    """Raise AdapterUnusable where a stored number is NaN or Inf."""
    if header.dtype == "BF16":
        if not _nonfinite_bf16(stored):
            return
    elif np.isfinite(stored).all():
        return
    numbers = to_float32(header, stored)
    nan = int(np.count_nonzero(np.isnan(numbers)))
    infinite = int(np.count_nonzero(np.isinf(numbers)))
    counts = " and ".join(f"{count} {what}" for count, what in ((nan, "NaN"), (infinite, "Inf")) if count)
    raise AdapterUnusable(
        "the adapter holds numbers that are none: training diverged, or the file is damaged",
        where=f"{_place(header)}: {counts} in {numbers.size}",
        hint="use an earlier checkpoint: `ggship inspect` lists them with their losses",
        rule="GS207",
    )


def _place(header: TensorHeader) -> str:
    return f"{header.file.name}: {header.name}"
