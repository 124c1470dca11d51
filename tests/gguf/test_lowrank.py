"""W + B @ A is correctly rounded, so its bytes cannot depend on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.gguf.lowrank import LowRank, multiply
from ggship.gguf.scratch import Scratch


def nearest(exact: Fraction) -> np.float32:
    """The float32 nearest to an exact number, ties to even: found among the neighbours of a first guess."""
    guess = np.float32(float(exact))
    around = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]

    def key(value):
        return (abs(Fraction(float(value)) - exact), int(value.view(np.int32)) & 1)

    return min(around, key=key)


def exactly(weights, b, a):
    rows, columns = weights.shape
    out = np.empty_like(weights)
    for i in range(rows):
        for j in range(columns):
            total = Fraction(float(weights[i, j]))
            for k in range(a.shape[0]):
                total += Fraction(float(b[i, k])) * Fraction(float(a[k, j]))
            out[i, j] = nearest(total)
    return out


def merged(weights, b, a):
    return LowRank(b, a).merge(0, weights, Scratch())[1].copy()


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 8, 17]), st.sampled_from([1e-9, 1e-3, 1.0, 1e4]))
@settings(max_examples=25, deadline=None)
def test_every_weight_is_the_float32_nearest_to_the_exact_sum(seed, rank, size):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((rank, 24)).astype(np.float32).astype(np.float64)
    b = rng.standard_normal((6, rank)).astype(np.float32).astype(np.float64) * (rng.uniform(0.1, 3) * size)
    weights = rng.standard_normal((6, 24)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.2] = 0
    b[0] = 0
    np.testing.assert_array_equal(merged(weights, b, a), exactly(weights, b, a))


def test_a_sum_that_cancels_is_still_exact():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((4, 16)).astype(np.float32).astype(np.float64)
    b = rng.standard_normal((8, 4)).astype(np.float32).astype(np.float64)
    weights = -(b @ a).astype(np.float32)  # what is left is the rounding error alone
    np.testing.assert_array_equal(merged(weights, b, a), exactly(weights, b, a))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_tie_and_what_is_a_hair_beside_it(sign):
    # 1 + 2**-24 is the middle between two float32; the third product is far below the last bit of a float64
    weights = np.full((3, 1), sign, np.float32)
    a = np.array([[2.0**-24], [2.0**-90]])
    b = np.array([[sign, 0.0], [sign, sign], [sign, -sign]])
    up = np.nextafter(np.float32(1), np.float32(2)) * np.float32(sign)
    np.testing.assert_array_equal(merged(weights, b, a)[:, 0], np.array([sign, up, sign], np.float32))


def test_too_large_becomes_inf_and_no_nan():
    weights = np.full((1, 8), 3e38, np.float32)
    assert np.isposinf(merged(weights, np.array([[1e38]]), np.ones((1, 8)) * 3)).all()


@given(st.integers(1, 150), st.integers(1, 300), st.integers(1, 70))
@settings(max_examples=40, deadline=None)
def test_tiles_cover_the_product(rows, columns, rank):
    rng = np.random.default_rng(rows * columns * rank)
    b, a = rng.standard_normal((rows, rank)), rng.standard_normal((rank, columns))
    out = np.full((rows, columns), np.nan)
    multiply(b, a, out)
    np.testing.assert_allclose(out, b @ a, rtol=1e-9, atol=1e-12)


def test_the_size_of_the_update_needs_no_update():
    rng = np.random.default_rng(0)
    b, a = rng.standard_normal((40, 4)), rng.standard_normal((4, 30))
    assert LowRank(b, a).squared_norm() == pytest.approx(float(((b @ a) ** 2).sum()))


SCRIPT = """
import hashlib, numpy as np
from ggship.gguf.lowrank import LowRank
from ggship.gguf.scratch import Scratch
rng = np.random.default_rng(7)
a = rng.uniform(-0.02, 0.02, (16, 512)).astype(np.float32).astype(np.float64)
b = (rng.standard_normal((300, 16)) * 0.01).astype(np.float32) * (16 / 7)
w = (rng.standard_normal((300, 512)) * 0.05).astype(np.float32)
whole = LowRank(b, a).merge(0, w, Scratch())[1].tobytes()
parts = b"".join(LowRank(b, a).merge(i, w[i : i + 7], Scratch())[1].tobytes() for i in range(0, 300, 7))
assert whole == parts
print(hashlib.sha256(whole).hexdigest())
"""


def test_any_blas_kernel_and_thread_count_give_the_same_bytes():
    found = set()
    for core, threads in (("Haswell", 1), ("Haswell", 2), ("Nehalem", 2), ("Zen", 1), ("SkylakeX", 2)):
        environment = os.environ | {"OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": str(threads)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode < 0:  # this processor has no such instructions
            continue
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
