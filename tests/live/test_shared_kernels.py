"""The quantizers of an installed llama.cpp give the bytes of libgguf, also where libgguf is not there."""

from __future__ import annotations

from pathlib import Path

import libgguf
import numpy as np
import pytest

from ggship.gguf.quantize import NativeKernels, NumpyKernels
from ggship.gguf.shared import SharedKernels, find_library
from ggship.gguf.types import GgmlType


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_the_same_bytes_as_libgguf(llama_cpp_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LLAMA_CPP_DIR", str(llama_cpp_dir))
    library = find_library()
    assert library is not None
    kind = GgmlType[name]
    rows = (np.random.default_rng(7).standard_normal((33, 512)) * 0.05).astype(np.float32)
    shared, native = (np.empty((33, kind.row_bytes(512)), np.uint8) for _ in range(2))
    kernels = SharedKernels(library, NumpyKernels())
    assert kernels.writes(kind)
    kernels.quantize(kind, rows, shared)
    NativeKernels(libgguf).quantize(kind, rows, native)
    assert np.array_equal(shared, native)
