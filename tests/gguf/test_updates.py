"""Each kind of update against its formula in plain numpy, and the law that all of them keep: chunks change no bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ggship.gguf.scratch import Scratch
from ggship.gguf.updates.dora import DoraColumns, DoraRows
from ggship.gguf.updates.lycoris import Hadamard, Kronecker
from ggship.gguf.updates.replaced import Replacement, RowReplacement
from ggship.gguf.updates.rotated import Rotated, rotations
from ggship.gguf.updates.rows import RowsInMemory
from ggship.gguf.updates.scaled import Scaled
from ggship.gguf.updates.vector import VectorUpdate

ROWS, COLUMNS, RANK = 48, 40, 5
RNG = np.random.default_rng(0)


def single(*shape):
    return RNG.standard_normal(shape).astype(np.float32).astype(np.float64)


W = single(ROWS, COLUMNS).astype(np.float32)
A, B, M, MC = single(RANK, COLUMNS), single(ROWS, RANK), single(ROWS), single(COLUMNS)
C, D = single(RANK, COLUMNS), single(ROWS, RANK)
W1, W2 = single(6, 5), single(8, 8)
NEW = single(ROWS, COLUMNS).astype(np.float32)
ORDER = np.random.default_rng(1).permutation(ROWS)
Q = single(5, 28)


def whole(update, weights=W):
    if hasattr(update, "survey"):
        update.settle(update.survey(0, weights, Scratch()))
    delta, merged = update.merge(0, weights, Scratch())
    return delta.copy(), merged.copy()


def dora():
    total = W + B @ A
    return M[:, None] * total / np.linalg.norm(total, axis=1, keepdims=True)


def dora_columns():
    total = W + B @ A
    return MC * total / np.linalg.norm(total, axis=0)


def skew(size=8):
    q = np.zeros((len(Q), size, size))
    q[:, np.triu_indices(size, 1)[0], np.triu_indices(size, 1)[1]] = Q
    return q - q.transpose(0, 2, 1)


def rotate(blocks):
    return np.concatenate([W[:, 8 * n : 8 * n + 8] @ block.T for n, block in enumerate(blocks)], axis=1)


def cayley():
    return [(np.eye(8) - q) @ np.linalg.inv(np.eye(8) + q) for q in skew()]


def neumann():
    return [np.eye(8) + 2 * q + 2 * q @ q + 2 * q @ q @ q + q @ q @ q @ q for q in skew()]


KINDS = {
    "dora": (lambda: DoraRows(B, A, M), dora),
    "dora of an embedding": (lambda: DoraColumns(B, A, MC), dora_columns),
    "loha": (lambda: Hadamard((B, A), (D, C), 0.7), lambda: W + 0.7 * (B @ A) * (D @ C)),
    "lokr": (lambda: Kronecker(W1, W2, 1.5), lambda: W + 1.5 * np.kron(W1, W2)),
    "lokr, permuted": (lambda: Kronecker(W1, W2, 1.5, ORDER), lambda: W + 1.5 * np.kron(W1, W2)[ORDER]),
    "rows scaled": (lambda: Scaled(M), lambda: W * M[:, None]),
    "columns scaled": (lambda: Scaled(MC, columns=True), lambda: W * MC),
    "replaced": (lambda: Replacement(RowsInMemory(NEW)), lambda: NEW),
    "replaced, permuted": (lambda: Replacement(RowsInMemory(NEW), ORDER), lambda: NEW[ORDER]),
    "oft": (lambda: Rotated(rotations(Q, 8, neumann_terms=None, eps=None)), lambda: rotate(cayley())),
    "oft, neumann": (lambda: Rotated(rotations(Q, 8, neumann_terms=5, eps=None)), lambda: rotate(neumann())),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_formula(kind):
    make, formula = KINDS[kind]
    delta, merged = whole(make())
    expected = formula()
    assert merged.dtype == np.float32
    np.testing.assert_allclose(merged, expected, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(delta, expected - W.astype(float), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_change_no_bit(kind):
    make, _ = KINDS[kind]
    _, expected = whole(make())
    update, scratch = make(), Scratch()
    cuts = [0, 1, 8, 31, 32, ROWS]
    if hasattr(update, "survey"):
        update.settle(update.survey(0, W, scratch))
    for start, end in pairwise(cuts):
        np.testing.assert_array_equal(update.merge(start, W[start:end], scratch)[1], expected[start:end])


def test_the_norm_is_told_where_it_is_known():
    update = Kronecker(W1, W2, 1.5)
    assert update.squared_norm() == pytest.approx(np.square(1.5 * np.kron(W1, W2)).sum())
    assert DoraRows(B, A, M).squared_norm() is None


def test_only_the_named_rows_change_and_the_last_of_two_counts():
    rows = np.array([40, 3, 3, 0])
    values = np.stack([np.full(COLUMNS, number, np.float32) for number in (1, 2, 3, 4)])
    _, merged = whole(RowReplacement(rows, values))
    expected = W.copy()
    expected[[40, 3, 0]] = [[1], [3], [4]]
    np.testing.assert_array_equal(merged, expected)
    part = RowReplacement(rows, values).merge(2, W[2:41], Scratch())[1]
    np.testing.assert_array_equal(part, expected[2:41])


def test_a_constrained_rotation_turns_less():
    free, held = rotations(Q, 8, neumann_terms=None, eps=None), rotations(Q, 8, neumann_terms=None, eps=0.01)
    assert np.abs(held - np.eye(8)).max() < 0.02 < np.abs(free - np.eye(8)).max()
    np.testing.assert_allclose(free @ free.transpose(0, 2, 1), np.broadcast_to(np.eye(8), free.shape), atol=1e-12)


def test_a_vector_is_replaced_then_scaled_then_added_to():
    w, new, factor, added = single(1, 7).astype(np.float32), single(7), single(7), single(7)
    _, merged = whole(VectorUpdate(new=new, factor=factor, added=added), w)
    np.testing.assert_allclose(merged[0], new * factor + added, rtol=1e-6)
    _, merged = whole(VectorUpdate(added=added), w)
    np.testing.assert_allclose(merged[0], w[0] + added, rtol=1e-6, atol=1e-6)


def test_a_row_of_length_zero_is_no_number():
    """PEFT divides by it too; the merge refuses what comes of it."""
    _, merged = whole(DoraRows(np.zeros((1, 1)), np.zeros((1, 4)), np.ones(1)), np.zeros((1, 4), np.float32))
    assert np.isnan(merged).all()
