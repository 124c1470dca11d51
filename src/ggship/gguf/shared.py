"""ggml's quantizers out of a llama.cpp that is installed here: as fast as llama-quantize, since they are the same code.

Used where $LLAMA_CPP_DIR, the folder of a `llama-quantize` on the path, or an installed Ollama holds libggml-base. The
bytes are those of libgguf; there is a K-quant for machines that libgguf has no wheel for (Linux on ARM), and elsewhere
some speed: Q4_K takes 1.4 times as long in libgguf.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.gguf.installed import find_library
from ggship.gguf.types import GgmlType

if TYPE_CHECKING:
    from ggship.gguf.quantize import Bytes, Floats, Kernels

# Types whose quantizer needs neither tables nor an importance matrix (ggml-quants.c).
_KINDS = frozenset(GgmlType[name] for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"))


class SharedKernels:
    """Quantizes through libggml-base, and leaves all else to `inner`. ctypes releases the GIL while ggml works."""

    def __init__(self, library: Path, inner: Kernels) -> None:
        self.name = f"{inner.name} and {library.name}"
        self._inner = inner
        # ggml.h: size_t ggml_quantize_chunk(type, const float * src, void * dst, start, nrows, n_per_row, imatrix)
        self._quantize = ctypes.CDLL(str(library)).ggml_quantize_chunk
        self._quantize.restype = ctypes.c_size_t
        count = ctypes.c_int64
        pointer = ctypes.c_void_p
        self._quantize.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]

    def reads(self, kind: GgmlType) -> bool:
        """Whether `inner` knows the type."""
        return self._inner.reads(kind)

    def writes(self, kind: GgmlType) -> bool:
        """Whether ggml, or else `inner`, can write the type."""
        return kind in _KINDS or self._inner.writes(kind)

    def dequantize(self, kind: GgmlType, data: Bytes, out: Floats) -> None:
        """Bytes of whole rows -> float32 weights."""
        self._inner.dequantize(kind, data, out)

    def quantize(self, kind: GgmlType, rows: Floats, out: Bytes) -> None:
        """float32 weights -> bytes."""
        if kind not in _KINDS:
            self._inner.quantize(kind, rows, out)
            return
        written = self._quantize(int(kind), rows.ctypes.data, out.ctypes.data, 0, *rows.shape, None)
        if written != out.nbytes:
            raise RuntimeError(f"ggml wrote {written} bytes of {kind.name}, expected {out.nbytes}")


def with_library(inner: Kernels) -> Kernels:
    """`inner`, with the quantizers of an installed llama.cpp where there is one that can be loaded."""
    library = find_library()
    if library is None:
        return inner
    try:
        return SharedKernels(library, inner)
    except (OSError, AttributeError):  # another platform's file, or a llama.cpp without that function
        return inner
