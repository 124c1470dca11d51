"""Rows of weights to bytes of a ggml type, and back.

libgguf where it is installed: ggml's own kernels, the same bytes as llama-quantize; its calls release the GIL. Q8_0 by
`q8_0`, which is faster and gives the same.
Elsewhere (Linux on ARM) gguf's numpy: the same bytes for F16, BF16, Q8_0 and the other 32-weight types, no K-quants.
What most weights become is faster still where kernels.c could be compiled (`compiled`), again with the same bytes.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ggship.errors import NotExpressible
from ggship.gguf import q8_0
from ggship.gguf.types import GgmlType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Bytes = NDArray[np.uint8]

PLAIN = (GgmlType.F32, GgmlType.F16, GgmlType.BF16, GgmlType.F64)


class Kernels(Protocol):
    """What turns bytes into weights and back. Arrays are C-ordered: bytes [rows, row bytes], weights [rows, n]."""

    name: str

    def reads(self, kind: GgmlType) -> bool:
        """Whether weights of that type can be read."""
        ...

    def writes(self, kind: GgmlType) -> bool:
        """Whether weights of that type can be written, without an importance matrix."""
        ...

    def dequantize(self, kind: GgmlType, data: Bytes, out: Floats) -> None:
        """Bytes of whole rows -> float32 weights, into `out`."""
        ...

    def quantize(self, kind: GgmlType, rows: Floats, out: Bytes) -> None:
        """float32 weights -> bytes, into `out`. NaN and Inf are the caller's to refuse."""
        ...


class NativeKernels:
    """ggml's own kernels, through libgguf.

    All rows go as one, since quantization knows only blocks: from 64 rows on libgguf starts a thread for each core at
    every call, which beside workers on every core makes it several times slower.
    """

    name = "libgguf"

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def reads(self, kind: GgmlType) -> bool:
        """Whether libgguf knows the type."""
        return kind in PLAIN or bool(kind.quantized and self._module.row_size(int(kind), kind.block))

    def writes(self, kind: GgmlType) -> bool:
        """Whether libgguf can write the type without an importance matrix."""
        return self.reads(kind) and not (kind.quantized and self._module.quantize_requires_imatrix(int(kind)))

    def dequantize(self, kind: GgmlType, data: Bytes, out: Floats) -> None:
        """Bytes of whole rows -> float32 weights."""
        if kind in PLAIN:
            read_plain(kind, data, out)
        else:
            self._module.dequantize_rows_into_raw(int(kind), data, out, 1, out.size)

    def quantize(self, kind: GgmlType, rows: Floats, out: Bytes) -> None:
        """float32 weights -> bytes."""
        if kind in (GgmlType.F32, GgmlType.F64):
            write_plain(kind, rows, out)
        elif kind is not GgmlType.Q8_0 or not q8_0.quantize(rows, out):
            self._module.quantize_rows_into_raw(int(kind), rows, out, 1, rows.size)


class NumpyKernels:
    """gguf's numpy: every type can be read, K- and I-quants cannot be written."""

    name = "gguf"

    def __init__(self) -> None:
        import gguf

        self._kinds = gguf.GGMLQuantizationType
        self._quants: Any = gguf.quants

    def reads(self, kind: GgmlType) -> bool:
        """Whether gguf can read the type."""
        return kind in PLAIN or (kind.quantized and self._tries(lambda: self._read(kind, _zero_block(kind))))

    def writes(self, kind: GgmlType) -> bool:
        """Whether gguf can write the type."""
        zeros = np.zeros((1, kind.block), np.float32)
        return kind in PLAIN or (kind.quantized and self._tries(lambda: self._write(kind, zeros)))

    def dequantize(self, kind: GgmlType, data: Bytes, out: Floats) -> None:
        """Bytes of whole rows -> float32 weights."""
        if kind in PLAIN:
            read_plain(kind, data, out)
        else:
            out[:] = self._read(kind, data)

    def quantize(self, kind: GgmlType, rows: Floats, out: Bytes) -> None:
        """float32 weights -> bytes."""
        if kind in (GgmlType.F32, GgmlType.F64, GgmlType.F16):
            write_plain(kind, rows, out)
        elif kind is not GgmlType.Q8_0 or not q8_0.quantize(rows, out):
            out[:] = self._write(kind, rows).view(np.uint8)

    def _read(self, kind: GgmlType, data: Bytes) -> Any:
        return self._quants.dequantize(data, self._kinds(int(kind)))

    def _write(self, kind: GgmlType, rows: Floats) -> Any:
        return self._quants.quantize(rows, self._kinds(int(kind)))

    @staticmethod
    def _tries(call: Any) -> bool:
        try:
            call()
        except (NotImplementedError, ValueError, KeyError):
            return False
        return True


@lru_cache(maxsize=1)
def best_kernels() -> Kernels:
    """The kernels of libgguf, or gguf's numpy where there is no wheel of libgguf for this machine.

    Compiled loops or an installed llama.cpp quantize for either: see `compiled` and `shared`.
    """
    from ggship.gguf.compiled import with_compiled
    from ggship.gguf.shared import with_library

    try:
        import libgguf
    except ImportError:
        return with_compiled(with_library(NumpyKernels()))
    return with_compiled(with_library(NativeKernels(libgguf)))


def require_writable(kernels: Kernels, kind: GgmlType) -> None:
    """Raise NotExpressible where this machine cannot write the type."""
    if not kernels.writes(kind):
        raise NotExpressible(
            f"{kind.name} cannot be written on this machine",
            where=f"the {kernels.name} package cannot, and libgguf has no wheel for this platform",
            hint="use --quant Q8_0 or F16, install a C compiler and then ggship again, or set LLAMA_CPP_DIR to the"
            " folder of llama.cpp's programs and libraries",
        )


def read_plain(kind: GgmlType, data: Bytes, out: Floats) -> None:
    """F32, F16, BF16 and F64 -> float32."""
    if kind is GgmlType.BF16:
        np.left_shift(data.view(np.uint16), 16, out=out.view(np.uint32), dtype=np.uint32)
    elif kind is GgmlType.F16:
        _read_half(data, out)
    else:
        np.copyto(out, data.view(_DTYPES[kind]), casting="same_kind")


def _read_half(data: Bytes, out: Floats) -> None:
    """F16 -> float32 by moving bits, four times as fast as numpy's own conversion; the same values."""
    bits = out.view(np.int32)
    np.left_shift(data.view(np.int16), 16, out=bits, dtype=np.int32)
    np.right_shift(bits, 3, out=bits)  # exponent and fraction in place, the sign smeared over four bits
    np.bitwise_and(bits, _SIGN_AND_REST, out=bits)
    np.multiply(out, _EXPONENT_SHIFT, out=out)
    if out.size and (out.max() >= _HALF_INF or out.min() <= -_HALF_INF):  # Inf and NaN came out as numbers
        np.copyto(out, data.view(np.float16))


def write_plain(kind: GgmlType, rows: Floats, out: Bytes) -> None:
    """float32 -> F32, F16 or F64, rounded to nearest even; what does not fit becomes Inf."""
    with np.errstate(over="ignore"):
        np.copyto(out.view(_DTYPES[kind]), rows, casting="same_kind")


_SIGN_AND_REST = np.int32(-0x70000001)  # 0x8fffffff
_EXPONENT_SHIFT = np.float32(2.0**112)  # the two formats' exponents differ by 127 - 15
_HALF_INF = np.float32(65536.0)

_DTYPES: dict[GgmlType, Any] = {GgmlType.F32: np.float32, GgmlType.F16: np.float16, GgmlType.F64: np.float64}


def _zero_block(kind: GgmlType) -> Bytes:
    return np.zeros((1, kind.block_bytes), np.uint8)
