"""Reading and writing weights: libgguf and gguf's numpy agree to the bit, and every type that gguf reads is read."""

from __future__ import annotations

import time

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ggship.errors import NotExpressible
from ggship.gguf import q8_0
from ggship.gguf.quantize import NumpyKernels, best_kernels, read_plain, require_writable
from ggship.gguf.types import GgmlType

READABLE = [GgmlType(int(kind)) for kind in gguf.quants._type_traits] + [GgmlType.F32, GgmlType.F16]


@pytest.fixture(scope="module")
def rows():
    return (np.random.default_rng(0).standard_normal((4, 512)) * 0.1).astype(np.float32)


@pytest.mark.parametrize("kind", READABLE, ids=lambda kind: kind.name)
def test_every_type_that_gguf_reads_is_read_alike(kind):
    native, numpy = best_kernels(), NumpyKernels()
    assert native.reads(kind)
    assert numpy.reads(kind)
    # Any bytes are weights, NaN and Inf among them: both must make the same numbers of them.
    data = np.random.default_rng(int(kind)).integers(0, 256, (4, kind.row_bytes(512)), np.uint8)
    ours, theirs = np.empty((4, 512), np.float32), np.empty((4, 512), np.float32)
    with np.errstate(all="ignore"):
        native.dequantize(kind, data, ours)
        numpy.dequantize(kind, data, theirs)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"])
def test_both_write_the_same_bytes(name, rows):
    kind = GgmlType[name]
    written = []
    for kernels in (best_kernels(), NumpyKernels()):
        assert kernels.writes(kind)
        out = np.empty((4, kind.row_bytes(512)), np.uint8)
        kernels.quantize(kind, rows, out)
        written.append(out.tobytes())
    assert written[0] == written[1]


def test_every_half_precision_number_is_read_exactly():
    halves = np.arange(1 << 16, dtype=np.uint16)
    numbers = halves[(halves & 0x7C00) != 0x7C00].reshape(-1, 64)
    out = np.empty(numbers.shape, np.float32)
    read_plain(GgmlType.F16, numbers.view(np.uint8), out)
    np.testing.assert_array_equal(out.view(np.uint32), numbers.view(np.float16).astype(np.float32).view(np.uint32))


def test_inf_and_nan_in_half_precision_stay_what_they_are():
    values = np.array([[1, np.inf, -2, np.nan, -np.inf, 0, 65504, -0.0]], np.float16)
    out = np.empty(values.shape, np.float32)
    read_plain(GgmlType.F16, values.view(np.uint8), out)
    np.testing.assert_array_equal(out, values.astype(np.float32))


def test_what_cannot_be_written_is_said_before_any_work():
    with pytest.raises(NotExpressible) as caught:
        require_writable(NumpyKernels(), GgmlType.Q4_K)
    assert "Q8_0" in caught.value.hint
    assert not best_kernels().writes(GgmlType.IQ2_XXS)  # needs an importance matrix


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100)


@given(hnp.arrays(np.float32, (2, 64), elements=numbers | st.integers(-254, 254).map(lambda n: n / 2)))
def test_q8_0_by_numpy_is_ggmls_own(rows):
    """Law: the bytes of libgguf, halves that round away from zero and all the sizes of float32 among them."""
    libgguf = pytest.importorskip("libgguf")
    ours, theirs = (np.zeros((2, GgmlType.Q8_0.row_bytes(64)), np.uint8) for _ in range(2))
    libgguf.quantize_rows_into_raw(int(GgmlType.Q8_0), rows, theirs, *rows.shape)
    if q8_0.quantize(rows, ours):
        np.testing.assert_array_equal(ours, theirs)
    else:  # left to ggml
        assert (np.abs(rows).reshape(-1, 32).max(axis=1) < 1e-36).any()


def test_halves_of_a_block_round_away_from_zero():
    rows = np.array([[127, 0.5, -0.5, 1.5, -1.5, 2.5, 0.49999997, -126.5, *([0.0] * 24)]], np.float32)
    out = np.zeros((1, 34), np.uint8)
    assert q8_0.quantize(rows, out)
    assert out.view(np.int8)[0, 2:10].tolist() == [127, 1, -1, 2, -2, 3, 0, -127]


def test_quantizing_is_done_in_the_thread_that_asks(rows):
    """Workers keep every core busy already: with threads of the library's own beside them, they took twice as long."""
    big = np.tile(rows, (64, 1))
    out = np.empty((len(big), GgmlType.Q4_K.row_bytes(big.shape[1])), np.uint8)
    everywhere, here = time.process_time(), time.thread_time()
    best_kernels().quantize(GgmlType.Q4_K, big, out)
    everywhere, here = time.process_time() - everywhere, time.thread_time() - here
    assert here > 0.9 * everywhere
