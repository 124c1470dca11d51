"""Products and sums whose bits no machine changes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.gguf.exact import Pieces, column_sums, exact_product, piece_bits, product, row_sums
from ggship.gguf.scratch import Scratch


def factors(seed, rows, rank, columns, spread):
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((rows, rank)) * 2.0 ** rng.integers(-spread, spread + 1, (rows, rank))
    a = rng.standard_normal((rank, columns)) * 2.0 ** rng.integers(-spread, spread + 1, (rank, columns))
    return b.astype(np.float32).astype(np.float64), a.astype(np.float32).astype(np.float64)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    rank=st.integers(1, 70),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    spread=st.sampled_from([0, 3, 12]),
)
def test_the_order_of_the_sum_changes_no_bit(seed, rank, shape, spread):
    b, a = factors(seed, shape[0], rank, shape[1], spread)
    order = np.random.default_rng(seed).permutation(rank)
    np.testing.assert_array_equal(exact_product(b, a), exact_product(b[:, order], a[order]))


@pytest.mark.parametrize("spread", [0, 8])
def test_it_is_far_nearer_to_the_product_than_a_float32_is(spread):
    b, a = factors(1, 6, 16, 20, spread)
    found = exact_product(b, a)
    for row in range(6):
        for column in range(20):
            exact = sum(Fraction(x) * Fraction(y) for x, y in zip(b[row], a[:, column], strict=True))
            limit = 2.0**-38 * np.abs(b[row]).max() * np.abs(a[:, column]).max()
            assert abs(float(exact - Fraction(found[row, column]))) <= limit


def test_rows_are_the_same_in_any_chunk():
    b, a = factors(2, 100, 8, 64, 4)
    whole, part = exact_product(b, a), np.empty((7, 64))
    product(Pieces(b, axis=1), Pieces(a, axis=0), part, Scratch(), start=31)
    np.testing.assert_array_equal(part, whole[31:38])


def test_zeros_and_tiny_numbers_are_no_trouble():
    b, a = np.zeros((3, 4)), np.full((4, 5), 1e-42)
    np.testing.assert_array_equal(exact_product(b, a), np.zeros((3, 5)))
    np.testing.assert_allclose(exact_product(np.ones((3, 4)), a), np.full((3, 5), 4e-42), rtol=1e-9)


@pytest.mark.parametrize("terms", [1, 2, 3, 8, 9, 255, 256, 257, 14336])
def test_a_piece_leaves_room_for_the_whole_sum(terms):
    assert terms * 2.0 ** (2 * piece_bits(terms)) < 2.0**53


@pytest.mark.parametrize("width", [0, 1, 2, 3, 17, 64, 1000])
def test_sums_are_sums(width):
    table = np.random.default_rng(width).standard_normal((5, width))
    np.testing.assert_allclose(row_sums(table.copy()), table.sum(axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(column_sums(table.T.copy()), table.sum(axis=1), rtol=1e-12, atol=1e-12)
