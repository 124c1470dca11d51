"""The loops of kernels.c give the bytes of ggml and of numpy, whatever the weights, or are not there at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ggship.gguf.chunks import _measure
from ggship.gguf.compiled import Compiled, CompiledKernels
from ggship.gguf.installed import compiled_kernels
from ggship.gguf.lowrank import LowRank
from ggship.gguf.quantize import NumpyKernels, read_plain
from ggship.gguf.scratch import Scratch
from ggship.gguf.types import GgmlType

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "scripts" / "build-kernels"
K_QUANTS = [GgmlType.Q4_K, GgmlType.Q5_K, GgmlType.Q6_K]


def build(folder, **environment):
    return subprocess.run(
        [sys.executable, BUILD, folder], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module", params=["as built", "any processor"])
def compiled(request, tmp_path_factory):
    """The library, and the code in it for processors without AVX2."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler: nothing can be compiled here, and ggship does without")
    folder = tmp_path_factory.mktemp("kernels")
    plain = {} if request.param == "as built" else {"CC": f"{shutil.which('cc') or shutil.which('gcc')} -DCLONES="}
    done = build(folder, **plain)
    assert done.returncode == 0, done.stderr
    return Compiled(Path(done.stdout.strip()))


def ggml(kind, rows):
    libgguf = pytest.importorskip("libgguf")
    out = np.zeros((len(rows), kind.row_bytes(rows.shape[1])), np.uint8)
    libgguf.quantize_rows_into_raw(int(kind), rows, out, *rows.shape)
    return out


def ours(compiled, kind, rows):
    out = np.full((len(rows), kind.row_bytes(rows.shape[1])), 0xAA, np.uint8)
    assert compiled.quantize(kind, rows, out)
    return out


sizes = st.sampled_from([0.0, 1e-30, 1e-17, 1e-8, 1e-3, 0.02, 1.0, 3e4, 1e12])


@st.composite
def super_blocks(draw):
    """Weights as models have them, and as they never should: zeros, constants, one sign, spikes, sizes far apart."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = rng.standard_normal((2, 256)).astype(np.float32)
    for row in rows.reshape(-1, 16):
        shape = draw(st.sampled_from(["normal", "normal", "constant", "positive", "negative", "steps", "spike"]))
        if shape == "constant":
            row[:] = row[0]
        elif shape in ("positive", "negative"):
            row[:] = np.abs(row) * (1 if shape == "positive" else -1)
        elif shape == "steps":
            row[:] = np.rint(row * 4) / 4
        elif shape == "spike":
            row[3] *= 1e4
        row *= np.float32(draw(sizes))
    return rows


@pytest.mark.parametrize("kind", K_QUANTS, ids=lambda kind: kind.name)
@given(rows=super_blocks())
@example(rows=np.zeros((2, 256), np.float32))
@example(rows=np.full((2, 256), -0.125, np.float32))
@example(rows=np.tile(np.array([1.0, -1.0], np.float32), (2, 128)))
@settings(max_examples=150, deadline=None)
def test_k_quants_are_ggmls_own(compiled, kind, rows):
    """Law: the bytes of libgguf."""
    np.testing.assert_array_equal(ours(compiled, kind, rows), ggml(kind, rows))


@pytest.mark.parametrize("kind", [*K_QUANTS, GgmlType.Q8_0], ids=lambda kind: kind.name)
@pytest.mark.parametrize("half", [True, False])
def test_a_whole_matrix_is_ggmls_own(compiled, kind, half):
    rng = np.random.default_rng(1)
    rows = (rng.standard_t(4, (400, 1024)) * 0.02).astype(np.float16 if half else np.float32).astype(np.float32)
    np.testing.assert_array_equal(ours(compiled, kind, rows), ggml(kind, rows))


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100)


@given(rows=hnp.arrays(np.float32, (2, 64), elements=numbers | st.integers(-254, 254).map(lambda n: n / 2)))
@settings(deadline=None)
def test_q8_0_is_ggmls_own(compiled, rows):
    """Law: the bytes of libgguf, halves that round away from zero and all the sizes of float32 among them."""
    out = np.zeros((2, GgmlType.Q8_0.row_bytes(64)), np.uint8)
    if compiled.quantize(GgmlType.Q8_0, rows, out):
        np.testing.assert_array_equal(out, ggml(GgmlType.Q8_0, rows))
    else:  # left to ggml
        assert (np.abs(rows).reshape(-1, 32).max(axis=1) < 1e-36).any()


def test_halves_round_away_from_zero_and_nothing_below_them(compiled):
    rows = np.array([[127, 0.5, -0.5, 1.5, -1.5, 2.5, 0.49999997, -126.5, *([0.0] * 24)]], np.float32)
    levels = ours(compiled, GgmlType.Q8_0, rows).view(np.int8)[0, 2:10]
    assert levels.tolist() == [127, 1, -1, 2, -2, 3, 0, -127]


def test_what_it_leaves_open_is_done_by_ggml(compiled):
    libgguf = pytest.importorskip("libgguf")
    from ggship.gguf.quantize import NativeKernels

    rows = np.full((1, 32), 1e-38, np.float32)
    assert not compiled.quantize(GgmlType.Q8_0, rows, np.zeros((1, 34), np.uint8))
    out = np.zeros((1, 34), np.uint8)
    CompiledKernels(compiled, NativeKernels(libgguf)).quantize(GgmlType.Q8_0, rows, out)
    np.testing.assert_array_equal(out, ggml(GgmlType.Q8_0, rows))


def test_every_half_precision_number_is_read_as_numpy_reads_it(compiled):
    halves = np.arange(1 << 16, dtype=np.uint16).reshape(-1, 64)
    for part in (halves, halves[(halves & 0x7C00 != 0x7C00).all(axis=1)]):  # with Inf and NaN, and without
        out = np.empty(part.shape, np.float32)
        compiled.read_half(part.view(np.uint8), out)
        np.testing.assert_array_equal(out, part.view(np.float16).astype(np.float32))
        again = np.empty(part.shape, np.float32)
        read_plain(GgmlType.F16, part.view(np.uint8), again)
        np.testing.assert_array_equal(out, again)


def test_machines_without_libgguf_get_k_quants(compiled):
    kernels = CompiledKernels(compiled, NumpyKernels())
    assert kernels.writes(GgmlType.Q4_K)
    assert not kernels.writes(GgmlType.Q3_K)
    rows = np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)
    out = np.zeros((3, GgmlType.Q4_K.row_bytes(512)), np.uint8)
    kernels.quantize(GgmlType.Q4_K, rows, out)
    np.testing.assert_array_equal(out, ggml(GgmlType.Q4_K, rows))


@given(
    st.integers(0, 2**32),
    st.integers(1, 11),
    st.integers(1, 40),
    st.integers(0, 20),
    st.sampled_from([1e-9, 1e-3, 1.0, 1e4]),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_what_a_sum_may_round_wrongly_is_seen(compiled, seed, rows, columns, rank, size, halves):
    """Law: merged is numpy's, and the weights in doubt are those whose sums numpy doubts, where both sums are equal."""
    rng = np.random.default_rng(seed)
    kind = np.float16 if halves else np.float32
    a = rng.standard_normal((rank, columns)).astype(kind).astype(np.float64)
    b = rng.standard_normal((rows, rank)).astype(kind).astype(np.float64) * size
    weights = rng.standard_normal((rows, columns)).astype(kind).astype(np.float32)
    weights[rng.random(weights.shape) < 0.2] = 0
    update, scratch = LowRank(b, a), Scratch()
    delta, merged = np.full(weights.shape, np.nan), np.full(weights.shape, np.nan, np.float32)
    unsafe = compiled.merge(update.b, compiled.tiles(update.a), update.known(slice(None)), weights, delta, merged)
    np.testing.assert_allclose(delta, b @ a, rtol=1e-9, atol=size * 1e-13)
    update._make_exact(0, unsafe, weights, merged)
    wanted = np.empty_like(merged)
    theirs = update._by_numpy(slice(0, rows), weights, np.empty_like(delta), wanted, scratch)
    update._make_exact(0, theirs, weights, wanted)
    np.testing.assert_array_equal(merged, wanted)
    assert len(np.unique(unsafe)) == len(unsafe)


def test_a_sum_that_errors_took_across_the_middle_is_in_doubt(compiled):
    # Beside 2**7 a float64 cannot hold the last bits of four terms: their sum is a hair above the middle between 1 and
    # the next float32, and is computed 128 units of the last place below it.
    terms = [2.0**7, *[2.0**-26 * (1 + 3 * 2.0**-22)] * 4, -(2.0**-45), -(2.0**7)]
    weights = np.ones((5, 11), np.float32)
    update = LowRank(np.ones((5, len(terms))), np.tile(np.array(terms)[:, None], (1, 11)))
    assert (update._unsafe_below < 1).all()  # or it would be in doubt for another reason
    delta, merged = np.empty(weights.shape), np.empty(weights.shape, np.float32)
    unsafe = compiled.merge(update.b, compiled.tiles(update.a), update.known(slice(None)), weights, delta, merged)
    assert (merged == 1).all()
    update._make_exact(0, unsafe, weights, merged)
    assert (merged == np.nextafter(np.float32(1), np.float32(2))).all()


def test_ties_are_no_doubt_but_what_a_float64_cannot_hold_is(compiled):
    weights = np.ones((64, 100), np.float32)
    middle = np.full((1, 100), 2.0**-24)  # each sum is the middle between two float32
    for a, doubts in ((middle, 0), (np.vstack([middle, middle * 2.0**-66]), weights.size)):
        update = LowRank(np.ones((64, len(a))), a)
        delta, merged = np.empty(weights.shape), np.empty(weights.shape, np.float32)
        unsafe = compiled.merge(update.b, compiled.tiles(a), update.known(slice(None)), weights, delta, merged)
        assert sorted(unsafe) == list(range(doubts))


def test_a_weight_of_more_bits_than_the_products_is_in_doubt(compiled):
    weights = np.full((4, 8), 2.0**-40, np.float32)  # lost beside 2**20, and what decides between two float32
    a = np.tile([[2.0**20], [2.0**-4]], (1, 8))
    update = LowRank(np.ones((4, 2)), a)
    delta, merged = np.empty(weights.shape), np.empty(weights.shape, np.float32)
    unsafe = compiled.merge(update.b, compiled.tiles(a), update.known(slice(None)), weights, delta, merged)
    update._make_exact(0, unsafe, weights, merged)
    assert (merged == 2.0**20 + 0.125).all()


@pytest.mark.parametrize("count", [1, 7, 8, 129])
def test_what_is_left_of_an_update_is_measured_as_numpy_measures_it(compiled, count, monkeypatch):
    rng = np.random.default_rng(count)
    stored, weights = (rng.standard_normal((1, count)).astype(np.float32) for _ in range(2))
    delta = rng.standard_normal((1, count))
    seen = compiled.measure(stored, weights, delta)
    assert seen == pytest.approx([((stored - weights) * delta).sum(), (weights.astype(np.float64) ** 2).sum()])
    assert seen == pytest.approx(_measure(stored.copy(), weights, delta), rel=1e-12)


def test_without_a_compiler_it_says_so_and_makes_nothing(tmp_path):
    done = build(tmp_path, PATH=str(tmp_path), CC="")
    assert (done.returncode, done.stderr.strip()) == (1, "no compiled kernels: no C compiler was found")
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_fails_leaves_nothing(tmp_path):
    done = build(tmp_path, CC="false")
    assert done.returncode == 1
    assert "false failed" in done.stderr
    assert not list(tmp_path.iterdir())


MERGE = """
import sys
from pathlib import Path
from ggship.gguf.compiled import compiled
from ggship.gguf.merge import merge_adapter
base, adapter, out, quant = sys.argv[1:]
print(compiled() is not None, merge_adapter(Path(base), Path(adapter), Path(out), quant=quant), sep="|")
"""


@pytest.mark.parametrize("quant", ["Q4_K_M", "Q5_K_M", "Q8_0", "F16"])
def test_a_merge_is_the_same_with_and_without(models, adapter, tmp_path, quant, monkeypatch):
    monkeypatch.delenv("GGSHIP_PURE_PYTHON", raising=False)
    if compiled_kernels() is None:
        pytest.skip("without a compiler there is one way only")
    model = models.Model("llama", 2, width=256, ffn=512, tied=False)
    base, made = model.write(tmp_path / "base.gguf", kind="F16"), {}
    for pure in ("0", "1"):
        out = tmp_path / f"{pure}.gguf"
        argv = [sys.executable, "-c", MERGE, base, adapter(model), out, quant]
        environment = os.environ | {"GGSHIP_PURE_PYTHON": pure}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        loaded, report = done.stdout.split("|")
        made[loaded] = (out.read_bytes(), report)
    assert made["True"] == made["False"]


SCRIPT = """
from ggship.checkup import checkup
from ggship.gguf.compiled import compiled
from ggship.gguf.installed import kernels_identity
from ggship.gguf.quantize import best_kernels
doctor = next(check for check in checkup("http://127.0.0.1:9") if check.name == "kernels")
print(compiled() is not None, kernels_identity(), best_kernels().name, doctor.state, doctor.found, sep="|")
"""


def test_a_library_that_is_broken_or_of_another_source_is_not_used(tmp_path, compiled):
    package = tmp_path / "ggship"
    shutil.copytree(ROOT / "src" / "ggship", package, ignore=shutil.ignore_patterns("kernels-*.so", "__pycache__"))
    library = Path(shutil.copy(compiled._library._name, package / "gguf"))

    def told(**more):
        environment = {name: value for name, value in os.environ.items() if name != "GGSHIP_PURE_PYTHON"}
        environment |= {"PYTHONPATH": str(tmp_path), **more}
        argv = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip().split("|")

    loaded, identity, name, state, found = told()
    assert (loaded, state, found) == ("True", "ok", f"compiled ({library.name})")
    assert identity.endswith(library.stem)
    assert name.endswith("kernels.c")

    loaded, identity, name, state, found = told(GGSHIP_PURE_PYTHON="1")
    assert (loaded, state) == ("False", "missing")
    assert "kernels" not in identity + name

    whole = library.read_bytes()
    library.unlink()
    library.write_bytes(b"not a library")
    loaded, _, name, state, found = told()
    assert (loaded, state) == ("False", "missing")
    assert "cannot be loaded" in found
    assert "kernels" not in name

    library.write_bytes(whole)
    with (package / "gguf" / "kernels.c").open("a") as source:
        source.write("/* changed */\n")
    loaded, identity, name, state, found = told()
    assert (loaded, state) == ("False", "missing")
    assert "kernels" not in identity + name
