"""The laws of folding and of the row order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ggship.convert.native import permuted
from ggship.convert.pairs import fold_factor, times

SIZES = st.integers(1, 6)


@given(rows=SIZES, columns=SIZES, rank=SIZES, scale=st.floats(-64, 64), seed=st.integers(0, 99))
def test_folding_keeps_the_update(rows, columns, rank, scale, seed):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((rank, columns)).astype(np.float32)
    b = rng.standard_normal((rows, rank)).astype(np.float32)
    folded = times(b, scale)
    assert folded.dtype == np.float32
    wanted = scale * (b.astype(float) @ a.astype(float))
    np.testing.assert_allclose(folded.astype(float) @ a, wanted, rtol=0, atol=2**-22 * rank * (abs(scale) + 1) * 10)


@given(alpha=st.floats(0.5, 512), rank=st.integers(1, 512))
def test_a_plain_lora_is_never_folded(alpha, rank):
    assert fold_factor(alpha / rank, rank, alpha) == 1.0


@given(alpha=st.floats(0.5, 512), rank=st.integers(2, 512))
def test_folding_makes_llama_cpps_scale_into_pefts(alpha, rank):
    rslora = alpha / rank**0.5
    assert np.isclose(fold_factor(rslora, rank, alpha) * alpha / rank, rslora)


@given(heads=st.integers(1, 5), half=st.integers(1, 5), rank=SIZES)
def test_permuting_rows_loses_none_and_keeps_each_head_together(heads, half, rank):
    rows = heads * 2 * half
    b = np.repeat(np.arange(rows)[:, None], rank, axis=1)
    order = permuted(b, heads)[:, 0]
    assert sorted(order) == list(range(rows))
    assert all(row // (2 * half) == place // (2 * half) for place, row in enumerate(order))
    assert list(order[:2]) == [0, half]
