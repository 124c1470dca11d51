"""Merging any set of updates: new tensors, untouched ones, what survives, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from ggship.errors import AdapterUnusable, BaseMismatch, LowSurvival, NotExpressible
from ggship.gguf.merge import merge_updates
from ggship.gguf.quantize import best_kernels
from ggship.gguf.reader import read_gguf
from ggship.gguf.updates.dora import DoraColumns, DoraRows
from ggship.gguf.updates.model import TensorUpdate
from ggship.gguf.updates.replaced import Replacement, RowReplacement
from ggship.gguf.updates.rows import RowsInMemory
from ggship.gguf.updates.scaled import Scaled
from ggship.gguf.updates.vector import VectorUpdate

EMBEDDING, HEAD, Q = "token_embd.weight", "output.weight", "blk.0.attn_q.weight"


@pytest.fixture
def model(models):
    return models.Model("llama", 2, width=64, ffn=96, vocab=80)


def weights(path, name):
    tensor = read_gguf(path).tensor(name)
    raw = np.fromfile(path, np.uint8, tensor.nbytes, offset=tensor.offset).reshape(tensor.rows, -1)
    out = np.empty((tensor.rows, tensor.columns), np.float32)
    best_kernels().dequantize(tensor.type, raw, out)
    return out.reshape(tensor.shape)


def raw(path, name):
    tensor = read_gguf(path).tensor(name)
    return path.read_bytes()[tensor.offset : tensor.offset + tensor.nbytes]


def update(name, shape, made, source=None):
    return TensorUpdate(name, shape, None if made is None else lambda _: made, source)


def new_rows(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_tensors_of_every_kind_in_one_merge(model, tmp_path):
    base, rng = model.write(tmp_path / "base.gguf", "F32"), np.random.default_rng(0)
    norm, embedding = rng.standard_normal(64), new_rows((80, 64))
    b, a, m = rng.standard_normal((64, 4)), rng.standard_normal((4, 64)), rng.uniform(1, 2, 64)
    updates = [
        update(Q, (64, 64), DoraRows(b, a, m)),
        update("blk.1.attn_norm.weight", (64,), VectorUpdate(new=norm)),
        update(EMBEDDING, (80, 64), Replacement(RowsInMemory(embedding))),
    ]
    report = merge_updates(base, updates, tmp_path / "out.gguf")
    assert (report.pairs, report.merged) == (3, 3)
    assert report.survival == pytest.approx(1, abs=1e-5)
    total = weights(base, Q) + b @ a
    expected = m[:, None] * total / np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(weights(tmp_path / "out.gguf", Q), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(weights(tmp_path / "out.gguf", EMBEDDING), embedding)
    np.testing.assert_array_equal(weights(tmp_path / "out.gguf", "blk.1.attn_norm.weight"), norm.astype(np.float32))
    touched = {item.name for item in updates}
    for tensor in read_gguf(base).tensors:
        if tensor.name not in touched:
            assert raw(tmp_path / "out.gguf", tensor.name) == raw(base, tensor.name)
    change = np.linalg.norm(expected - weights(base, Q)) / np.linalg.norm(weights(base, Q))
    relative = {tensor.name: tensor.relative_update for tensor in report.tensors}
    assert relative[Q] == pytest.approx(change, rel=1e-3)


@pytest.mark.parametrize(("kind", "becomes"), [("F16", "F16"), ("Q4_0", "Q8_0")])
def test_a_head_of_its_own_starts_from_the_embedding(model, tmp_path, kind, becomes):
    base = model.write(tmp_path / "base.gguf", kind)
    report = merge_updates(base, [update(HEAD, (80, 64), Scaled(np.full(80, 1.5)), EMBEDDING)], tmp_path / "out.gguf")
    found = {tensor.name: tensor for tensor in read_gguf(tmp_path / "out.gguf").tensors}
    assert found[HEAD].type_name == becomes
    assert raw(tmp_path / "out.gguf", EMBEDDING) == raw(base, EMBEDDING)
    np.testing.assert_allclose(
        weights(tmp_path / "out.gguf", HEAD), 1.5 * weights(base, EMBEDDING), rtol=0.02, atol=0.02
    )
    assert [(tensor.name, tensor.from_type, tensor.to_type) for tensor in report.tensors] == [(HEAD, kind, becomes)]


@pytest.mark.parametrize("kind", ["F16", "Q4_0"])
def test_a_head_that_stays_is_a_copy_of_the_old_embedding(model, tmp_path, kind):
    base = model.write(tmp_path / "base.gguf", kind)
    updates = [update(EMBEDDING, (80, 64), Scaled(np.full(80, 1.5))), update(HEAD, (80, 64), None, EMBEDDING)]
    report = merge_updates(base, updates, tmp_path / "out.gguf")
    assert (report.pairs, report.merged) == (1, 1)
    assert raw(tmp_path / "out.gguf", HEAD) == raw(base, EMBEDDING)


def test_a_bias_that_the_base_lacks_starts_from_zero(model, tmp_path):
    base, bias = model.write(tmp_path / "base.gguf", "F16"), np.linspace(-1, 1, 64)
    report = merge_updates(
        base, [update("blk.0.attn_q.bias", (64,), VectorUpdate(added=bias), "")], tmp_path / "out.gguf", quant="Q8_0"
    )
    found = read_gguf(tmp_path / "out.gguf").tensor("blk.0.attn_q.bias")
    assert (found.type_name, found.shape) == ("F32", (64,))
    np.testing.assert_array_equal(weights(tmp_path / "out.gguf", "blk.0.attn_q.bias"), bias.astype(np.float32))
    assert report.survival == 1


def test_columns_are_measured_over_all_chunks_first(models, tmp_path):
    model = models.Model("llama", 1, width=64, ffn=64, vocab=5000)  # several chunks of rows
    base, rng = model.write(tmp_path / "base.gguf", "F32"), np.random.default_rng(0)
    b, a, m = rng.standard_normal((5000, 3)), rng.standard_normal((3, 64)), rng.uniform(1, 2, 64)
    for threads in (1, 3):
        merge_updates(
            base,
            [update(EMBEDDING, (5000, 64), DoraColumns(b, a, m))],
            tmp_path / f"{threads}.gguf",
            threads=threads,
        )
    total = weights(base, EMBEDDING) + b @ a
    expected = m * total / np.linalg.norm(total, axis=0)
    np.testing.assert_allclose(weights(tmp_path / "1.gguf", EMBEDDING), expected, rtol=1e-5, atol=1e-7)
    assert (tmp_path / "1.gguf").read_bytes() == (tmp_path / "3.gguf").read_bytes()


def test_one_expert_of_a_stack(models, tmp_path):
    experts = ("attn_norm", "ffn_norm", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
    model = models.Model("llama", 1, width=64, ffn=96, experts=4, layer=experts)
    base, name = model.write(tmp_path / "base.gguf", "F16"), "blk.0.ffn_up_exps.weight"
    change = TensorUpdate(name, (4, 96, 64), lambda matrix: Scaled(np.full(96, 2.0)) if matrix == 2 else None)
    report = merge_updates(base, [change], tmp_path / "out.gguf")
    expected = weights(base, name)
    expected[2] *= 2
    np.testing.assert_array_equal(weights(tmp_path / "out.gguf", name), expected)
    assert (report.merged, report.survival) == (1, 1)


def test_single_rows_survive_in_a_quantized_base(model, tmp_path):
    base = model.write(tmp_path / "base.gguf", "Q4_0")
    rows = update(EMBEDDING, (80, 64), RowReplacement(np.array([3, 77]), new_rows((2, 64))))
    report = merge_updates(base, [rows], tmp_path / "out.gguf")
    np.testing.assert_allclose(weights(tmp_path / "out.gguf", EMBEDDING)[[3, 77]], new_rows((2, 64)), atol=0.03)
    assert report.survival > 0.99


def test_an_update_that_rounds_away_stops_the_merge(model, tmp_path):
    base = model.write(tmp_path / "base.gguf", "BF16")
    with pytest.raises(LowSurvival):
        merge_updates(base, [update(Q, (64, 64), Scaled(np.full(64, 1.0003)))], tmp_path / "out.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["base.gguf"]


@pytest.mark.parametrize(
    ("name", "shape", "source"),
    [
        (Q, (64, 65), None),
        ("blk.7.attn_q.weight", (64, 64), None),
        (HEAD, (81, 64), EMBEDDING),
        (Q, (64, 64), EMBEDDING),
        (HEAD, (80, 64), "blk.9.attn_q.weight"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(name, shape, source, model, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F16")
    with pytest.raises(BaseMismatch):
        merge_updates(base, [update(name, shape, Scaled(np.ones(shape[0])), source)], tmp_path / "out.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["base.gguf"]


def test_nothing_changed_needs_force(model, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F16")
    same = [update(Q, (64, 64), Scaled(np.ones(64)))]
    with pytest.raises(AdapterUnusable):
        merge_updates(base, same, tmp_path / "out.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["base.gguf"]
    merge_updates(base, same, tmp_path / "out.gguf", force=True)
    assert raw(tmp_path / "out.gguf", Q) == raw(base, Q)


def test_no_number_is_refused(model, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F32")
    with pytest.raises(NotExpressible):
        merge_updates(base, [update(Q, (64, 64), Scaled(np.full(64, np.inf)))], tmp_path / "out.gguf")
