"""Merging an adapter into a base: numbers, bytes, refusals, and what is left when it fails."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.errors import AdapterUnusable, BadFile, BaseMismatch, Busy, LowSurvival, NotExpressible, Refused, UsageError
from ggship.gguf.chunks import ChunkWorker, chunk_at, chunk_count
from ggship.gguf.merge import merge_adapter
from ggship.gguf.parts import Source
from ggship.gguf.plan import plan_merge
from ggship.gguf.quantize import NumpyKernels, best_kernels
from ggship.gguf.reader import read_gguf
from ggship.gguf.types import GgmlType
from ggship.gguf.writer import GgufWriter, NewTensor


@pytest.fixture
def model(models):
    return models.Model("llama", 2, width=64, ffn=96, tied=False)


def weights(path, name):
    """A tensor of a GGUF file as float32."""
    tensor = read_gguf(path).tensor(name)
    raw = np.fromfile(path, np.uint8, tensor.nbytes, offset=tensor.offset).reshape(tensor.rows, -1)
    out = np.empty((tensor.rows, tensor.columns), np.float32)
    best_kernels().dequantize(tensor.type, raw, out)
    return out.reshape(tensor.shape)


def raw(path, name):
    tensor = read_gguf(path).tensor(name)
    return path.read_bytes()[tensor.offset : tensor.offset + tensor.nbytes]


def types(path):
    return {tensor.name: tensor.type_name for tensor in read_gguf(path).tensors}


def names(folder):
    return {path.name for path in folder.iterdir()}


def update(adapter, name, scale):
    return scale * (weights(adapter, f"{name}.lora_b").astype(float) @ weights(adapter, f"{name}.lora_a").astype(float))


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_touched_weights_are_moved_and_the_rest_is_the_same_bytes(model, adapter, tmp_path, kind):
    base = model.write(tmp_path / "base.gguf", kind)
    lora = adapter(model, ["blk.0.attn_q.weight", "blk.1.ffn_down.weight"], rank=4)
    report = merge_adapter(base, lora, tmp_path / "out.gguf")
    assert (report.pairs, report.merged, report.quant) == (2, 2, "")
    assert report.bytes == (tmp_path / "out.gguf").stat().st_size
    assert types(tmp_path / "out.gguf") == types(base)
    step = {"F32": 2**-24, "F16": 2**-11, "BF16": 2**-8}[kind]
    for tensor in read_gguf(base).tensors:
        name = tensor.name
        if name in ("blk.0.attn_q.weight", "blk.1.ffn_down.weight"):
            expected = weights(base, name) + update(lora, name, 16 / 4)
            np.testing.assert_allclose(weights(tmp_path / "out.gguf", name), expected, rtol=step, atol=1e-7)
        else:
            assert raw(tmp_path / "out.gguf", name) == raw(base, name)
    assert report.survival == pytest.approx(1, abs=0.01)
    norms = [
        np.linalg.norm(update(lora, "blk.0.attn_q.weight", 4)),
        np.linalg.norm(weights(base, "blk.0.attn_q.weight")),
    ]
    assert report.tensors[0].relative_update == pytest.approx(norms[0] / norms[1], rel=1e-3)


def test_float32_is_the_nearest_to_the_exact_sum(model, adapter, tmp_path):
    base, lora = model.write(tmp_path / "base.gguf", "F32"), adapter(model, ["blk.0.attn_q.weight"])
    merge_adapter(base, lora, tmp_path / "out.gguf")
    expected = (weights(base, "blk.0.attn_q.weight") + update(lora, "blk.0.attn_q.weight", 4)).astype(np.float32)
    np.testing.assert_array_equal(weights(tmp_path / "out.gguf", "blk.0.attn_q.weight"), expected)


def test_metadata_is_kept_changed_and_removed(model, adapter, tmp_path):
    base = dataclasses.replace(
        model, metadata={"tokenizer.chat_template": "old", "general.url": "x", "tokenizer.ggml.tokens": ["a"] * 2000}
    ).write(tmp_path / "base.gguf")
    new = {"tokenizer.chat_template": "new", "general.name": "law-helper", "general.url": None}
    merge_adapter(base, adapter(model), tmp_path / "out.gguf", metadata=new)
    before, after = read_gguf(base), read_gguf(tmp_path / "out.gguf")
    assert after.get("tokenizer.chat_template") == "new"
    assert after.get("general.name") == "law-helper"
    assert set(after.metadata) == set(before.metadata) - {"general.url"} | {"general.name"}
    same = set(before.metadata) - {"tokenizer.chat_template", "general.url"}
    assert all(after.metadata[key].raw() == before.metadata[key].raw() for key in same)
    assert after.get("general.file_type") == 1


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL"])
def test_touched_tensors_of_a_quantized_base_become_q8_0(model, adapter, tmp_path, kind):
    base = model.write(tmp_path / "base.gguf", kind)
    lora = adapter(model, ["blk.0.attn_q.weight"], scale=0.1)
    report = merge_adapter(base, lora, tmp_path / "out.gguf")
    expected = types(base) | {"blk.0.attn_q.weight": "Q8_0"}
    assert types(tmp_path / "out.gguf") == expected
    for name in expected:
        if name != "blk.0.attn_q.weight":
            assert raw(tmp_path / "out.gguf", name) == raw(base, name)
    assert report.survival > 0.9
    assert read_gguf(tmp_path / "out.gguf").get("general.quantization_version") == 2


def test_k_quants_are_a_base_too(models, adapter, tmp_path):
    model = models.Model("llama", 1, width=256, ffn=256)
    for kind in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"):
        base = model.write(tmp_path / f"{kind}.gguf", kind)
        lora = adapter(model, ["blk.0.attn_v.weight"], scale=0.1)
        merge_adapter(base, lora, tmp_path / "out.gguf")
        expected = weights(base, "blk.0.attn_v.weight") + update(lora, "blk.0.attn_v.weight", 4)
        got = weights(tmp_path / "out.gguf", "blk.0.attn_v.weight")
        assert np.abs(got - expected).max() <= np.abs(expected).max() / 127


def test_rows_that_q8_0_does_not_divide_become_f16(models, adapter, tmp_path):
    planned = plan_merge(models.Model("llama", 1, width=40, ffn=40).header(), {"blk.0.attn_q.weight"}, "Q8_0")
    assert {t.tensor: t.to_type for t in planned}["blk.0.attn_q.weight"] == "F16"


@pytest.mark.parametrize("quant", ["F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "Q5_0", "Q4_0"])
def test_quantizing_in_the_same_pass_is_merging_then_quantizing(models, adapter, tmp_path, quant):
    model = models.Model("llama", 2, width=256, ffn=288, tied=False)
    base, lora = model.write(tmp_path / "base.gguf", "F32"), adapter(model)
    report = merge_adapter(base, lora, tmp_path / "one.gguf", quant=quant)
    merge_adapter(base, lora, tmp_path / "merged.gguf")
    kernels = best_kernels()
    planned = plan_merge(read_gguf(base), set(types(base)), quant)
    assert {t.tensor: t.to_type for t in planned} == types(tmp_path / "one.gguf")
    for name, kind in types(tmp_path / "one.gguf").items():
        rows = np.atleast_2d(weights(tmp_path / "merged.gguf", name))
        out = np.empty((rows.shape[0], GgmlType[kind].row_bytes(rows.shape[1])), np.uint8)
        kernels.quantize(GgmlType[kind], np.ascontiguousarray(rows), out)
        assert raw(tmp_path / "one.gguf", name) == out.tobytes(), name
    assert report.quant == quant
    assert report.survival > 0.9
    assert sum(t.nbytes for t in planned) < report.bytes


def test_no_file_in_between(models, adapter, tmp_path):
    model = models.Model("llama", 1, width=256, ffn=256)
    base, lora = model.write(tmp_path / "base.gguf"), adapter(model)
    seen = set()
    merge_adapter(base, lora, tmp_path / "out.gguf", quant="Q4_K_M", on_tensor=lambda *_: seen.update(names(tmp_path)))
    assert seen == {"base.gguf", "adapter.gguf", "out.gguf.partial"}


def test_a_quantized_base_is_not_quantized_again_unless_forced(models, adapter, tmp_path):
    model = models.Model("llama", 1, width=256, ffn=256)
    base, lora = model.write(tmp_path / "base.gguf", "Q8_0"), adapter(model, ["blk.0.attn_q.weight"], scale=0.1)
    merge_adapter(base, lora, tmp_path / "out.gguf", quant="Q4_K_M")
    assert types(tmp_path / "out.gguf") == types(base)
    merge_adapter(base, lora, tmp_path / "forced.gguf", quant="Q4_K_M", force=True)
    assert types(tmp_path / "forced.gguf")["blk.0.attn_q.weight"] == "Q4_K"
    merge_adapter(base, lora, tmp_path / "more.gguf", quant="F16")
    assert types(tmp_path / "more.gguf") == types(base) | {"blk.0.attn_q.weight": "F16"}


def test_file_type_says_what_the_file_is(models, adapter, tmp_path):
    model = models.Model("llama", 1, width=256, ffn=256)
    base, lora = model.write(tmp_path / "base.gguf"), adapter(model)
    for quant, number in {"Q8_0": 7, "Q4_K_M": 15, "Q6_K": 18, "BF16": 32}.items():
        merge_adapter(base, lora, tmp_path / "out.gguf", quant=quant)
        assert read_gguf(tmp_path / "out.gguf").get("general.file_type") == number
    quantized = model.write(tmp_path / "q4.gguf", "Q4_0")
    merge_adapter(quantized, adapter(model, scale=0.2), tmp_path / "out.gguf")
    assert read_gguf(tmp_path / "out.gguf").get("general.file_type") == 7


def test_an_update_that_the_grid_swallows_is_refused(model, adapter, tmp_path):
    base = model.write(tmp_path / "base.gguf", "Q8_0")
    lora = adapter(model, scale=0.0003)
    with pytest.raises(LowSurvival) as caught:
        merge_adapter(base, lora, tmp_path / "out.gguf")
    assert caught.value.exit_code == 4
    assert "% of the trained update" in caught.value.message
    assert "Q8_0 -> Q8_0" in caught.value.where
    assert "grid" in caught.value.where
    assert "--base" in caught.value.hint
    assert names(tmp_path) == {"base.gguf", "adapter.gguf"}
    assert merge_adapter(base, lora, tmp_path / "out.gguf", force=True).survival < 0.5
    assert merge_adapter(base, lora, tmp_path / "out.gguf", quant="F16").survival > 0.9


def test_survival_is_the_projection_of_what_was_kept(model, adapter, tmp_path):
    base, lora = model.write(tmp_path / "base.gguf", "Q8_0"), adapter(model, scale=0.004)
    report = merge_adapter(base, lora, tmp_path / "out.gguf", force=True)
    dots, norms = 0.0, 0.0
    for tensor in report.tensors:
        delta = update(lora, tensor.name, 4)
        kept = weights(tmp_path / "out.gguf", tensor.name).astype(float) - weights(base, tensor.name)
        assert tensor.survival == pytest.approx((kept * delta).sum() / (delta**2).sum(), abs=1e-4)
        dots, norms = dots + (kept * delta).sum(), norms + (delta**2).sum()
    assert report.survival == pytest.approx(dots / norms, abs=1e-4)


def test_token_embeddings_are_flipped_as_llama_cpp_has_them(models, model, tmp_path):
    rng = np.random.default_rng(0)
    vocab_side, width_side = rng.standard_normal((64, 4)).astype("f4"), rng.standard_normal((64, 4)).astype("f4")
    model = dataclasses.replace(model, vocab=64)
    pairs = {"token_embd.weight": (vocab_side, width_side)}
    lora = models.write_adapter(tmp_path / "a.gguf", "llama", pairs, alpha=4.0)
    base = model.write(tmp_path / "base.gguf", "F32")
    merge_adapter(base, lora, tmp_path / "out.gguf")
    expected = weights(base, "token_embd.weight") + vocab_side.astype(float) @ width_side.T.astype(float)
    np.testing.assert_array_equal(weights(tmp_path / "out.gguf", "token_embd.weight"), expected.astype("f4"))


def test_experts_have_an_update_each(models, adapter, tmp_path):
    model = models.Model("llama", 1, width=64, ffn=32, experts=4, layer=models.MOE, tied=False)
    base, lora = model.write(tmp_path / "base.gguf", "F32"), adapter(model, ["blk.0.ffn_up_exps.weight"])
    merge_adapter(base, lora, tmp_path / "out.gguf")
    a, b = (weights(lora, f"blk.0.ffn_up_exps.weight.lora_{half}").astype(float) for half in "ab")
    expected = weights(base, "blk.0.ffn_up_exps.weight") + 4 * np.einsum("eor,eri->eoi", b, a)
    np.testing.assert_allclose(
        weights(tmp_path / "out.gguf", "blk.0.ffn_up_exps.weight"), expected, rtol=1e-6, atol=1e-8
    )


def test_without_alpha_the_scale_is_one(model, adapter, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F32")
    lora = adapter(model, ["blk.0.attn_q.weight"], alpha=None)
    merge_adapter(base, lora, tmp_path / "out.gguf")
    expected = weights(base, "blk.0.attn_q.weight") + update(lora, "blk.0.attn_q.weight", 1)
    np.testing.assert_array_equal(weights(tmp_path / "out.gguf", "blk.0.attn_q.weight"), expected.astype("f4"))


def test_a_forced_zero_update_is_a_copy(model, adapter, tmp_path):
    base, lora = model.write(tmp_path / "base.gguf"), adapter(model, scale=0.0)
    with pytest.raises(AdapterUnusable, match="untrained"):
        merge_adapter(base, lora, tmp_path / "out.gguf")
    assert merge_adapter(base, lora, tmp_path / "out.gguf", force=True).survival == 1
    assert (tmp_path / "out.gguf").read_bytes() == base.read_bytes()


@given(st.integers(1, 4), st.integers(0, 100), st.sampled_from([None, "Q8_0", "F16"]))
@settings(max_examples=10, deadline=None)
def test_threads_and_the_order_of_pairs_change_no_byte(models, tmp_path_factory, threads, seed, quant):
    folder = tmp_path_factory.mktemp("order")
    model = models.Model("llama", 1, width=64, ffn=2080)  # ffn_down and its kind are cut into several chunks
    base = model.write(folder / "base.gguf")
    rng = np.random.default_rng(seed)
    pairs = {
        f"blk.0.{kind}.weight": (
            rng.standard_normal((3, model.shape(kind)[1])).astype("f4"),
            rng.standard_normal((model.shape(kind)[0], 3)).astype("f4") * np.float32(0.01),
        )
        for kind in ("attn_q", "ffn_down", "ffn_up")
    }
    one = models.write_adapter(folder / "one.gguf", "llama", pairs)
    two = models.write_adapter(folder / "two.gguf", "llama", dict(reversed(pairs.items())))
    merge_adapter(base, one, folder / "a.gguf", quant=quant, threads=1)
    merge_adapter(base, two, folder / "b.gguf", quant=quant, threads=threads)
    assert (folder / "a.gguf").read_bytes() == (folder / "b.gguf").read_bytes()


def test_progress_counts_every_tensor(model, adapter, tmp_path):
    base = model.write(tmp_path / "base.gguf")
    seen = []
    merge_adapter(base, adapter(model), tmp_path / "out.gguf", on_tensor=lambda done, of: seen.append((done, of)))
    count = len(read_gguf(base).tensors)
    assert seen == [(number + 1, count) for number in range(count)]


def test_gguf_numpy_writes_the_same_bytes_where_libgguf_is_missing(model, adapter, tmp_path):
    base, lora = model.write(tmp_path / "base.gguf", "Q4_1"), adapter(model, scale=0.1)
    merge_adapter(base, lora, tmp_path / "native.gguf")
    merge_adapter(base, lora, tmp_path / "numpy.gguf", kernels=NumpyKernels())
    assert (tmp_path / "native.gguf").read_bytes() == (tmp_path / "numpy.gguf").read_bytes()


def test_without_libgguf_k_quants_are_refused_with_the_way_out(models, adapter, tmp_path):
    model = models.Model("llama", 1, width=256, ffn=256)
    base, lora = model.write(tmp_path / "base.gguf"), adapter(model)
    with pytest.raises(NotExpressible) as caught:
        merge_adapter(base, lora, tmp_path / "out.gguf", quant="Q4_K_M", kernels=NumpyKernels())
    assert "LLAMA_CPP_DIR" in caught.value.hint


def bad_adapter(models, model, tmp_path, change):
    rng = np.random.default_rng(0)
    pairs = {
        "blk.0.attn_q.weight": [rng.standard_normal((4, 64)).astype("f4"), rng.standard_normal((64, 4)).astype("f4")]
    }
    options = {"arch": "llama", "pairs": pairs} | (change(pairs) or {})
    return models.write_adapter(tmp_path / "bad.gguf", options.pop("arch"), options.pop("pairs"), **options)


def poison(half, value):
    def change(pairs):
        pairs["blk.0.attn_q.weight"][half][1, 1] = value

    return change


def renamed(name):
    return lambda pairs: {"pairs": {name: pairs["blk.0.attn_q.weight"]}}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (poison(0, np.nan), AdapterUnusable, "attn_q.weight.lora_a"),
        (poison(1, np.inf), AdapterUnusable, "attn_q.weight.lora_b"),
        (renamed("blk.7.attn_q.weight"), BaseMismatch, "blk.7.attn_q.weight"),
        (renamed("blk.0.ffn_up.weight"), BaseMismatch, "blk.0.ffn_up.weight"),
        (lambda pairs: {"arch": "qwen2"}, BaseMismatch, "qwen2"),
        (lambda pairs: {"keys": {"adapter.type": "control_vector"}}, BadFile, "control_vector"),
        (lambda pairs: {"keys": {"adapter.alora.invocation_tokens": [1, 2]}}, NotExpressible, "activated"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_by_name(models, model, tmp_path, change, error, says):
    base = model.write(tmp_path / "base.gguf")
    with pytest.raises(error) as caught:
        merge_adapter(base, bad_adapter(models, model, tmp_path, change), tmp_path / "out.gguf")
    assert says in f"{caught.value.message} {caught.value.where}"
    assert names(tmp_path) == {"base.gguf", "bad.gguf"}


def test_quantized_halves_missing_halves_and_strangers_are_refused(models, model, tmp_path):
    base = model.write(tmp_path / "base.gguf")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((32, 64)).astype("f4"), rng.standard_normal((64, 32)).astype("f4")
    quantized = models.write_adapter(tmp_path / "q.gguf", "llama", {"blk.0.attn_q.weight": (a, b)}, kind="Q8_0")
    with pytest.raises(AdapterUnusable, match="quantized"):
        merge_adapter(base, quantized, tmp_path / "out.gguf")
    for name, says in (("blk.0.attn_q.weight.lora_a", "lora_b is missing"), ("blk.0.attn_norm.weight", "no half")):
        writer = models.gguf.GGUFWriter(tmp_path / "odd.gguf", "llama")
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_tensor(name, a)
        models.finish(writer)
        with pytest.raises(AdapterUnusable) as caught:
            merge_adapter(base, tmp_path / "odd.gguf", tmp_path / "out.gguf")
        assert says in f"{caught.value.message} {caught.value.where}"


def test_a_base_with_nan_is_refused_and_leaves_nothing(model, adapter, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F16", scale=float("nan"))
    for quant in (None, "Q8_0"):
        with pytest.raises(BadFile, match="NaN"):
            merge_adapter(base, adapter(model), tmp_path / "out.gguf", quant=quant)
    assert names(tmp_path) == {"base.gguf", "adapter.gguf"}


def test_weights_too_large_for_the_type_are_refused(model, adapter, tmp_path):
    base = model.write(tmp_path / "base.gguf", "BF16")
    lora = adapter(model, ["blk.0.attn_q.weight"], scale=1e6)
    with pytest.raises(Refused, match="too large for F16") as caught:
        merge_adapter(base, lora, tmp_path / "out.gguf", quant="F16")
    assert "blk.0.attn_q.weight" in caught.value.where
    assert "BF16" in caught.value.hint


def planted(path, name, value):
    """The same file with one weight of an F32 tensor made this large."""
    tensor = read_gguf(path).tensor(name)
    with path.open("r+b") as file:
        file.seek(tensor.offset + 4 * 7)
        file.write(np.float32(value).tobytes())
    os.utime(path, ns=(0, 0))
    return path


@pytest.mark.parametrize(
    ("quant", "value", "kind"),
    [("F16", 70000, "F16"), ("Q8_0", 1e8, "Q8_0"), ("Q4_K_M", 1e9, "Q4_K"), ("Q5_0", -1e8, "Q5_0")],
)
def test_a_weight_that_the_adapter_does_not_touch_is_not_lost_either(models, adapter, tmp_path, quant, value, kind):
    model = models.Model("llama", 8, width=256, ffn=256, tied=False)
    base = planted(model.write(tmp_path / "base.gguf", "F32"), "blk.2.attn_q.weight", value)
    lora = adapter(model, ["blk.0.attn_q.weight"])
    with pytest.raises(NotExpressible, match=f"too large for {kind}") as caught:
        merge_adapter(base, lora, tmp_path / "out.gguf", quant=quant)
    assert caught.value.where == "blk.2.attn_q.weight"
    assert names(tmp_path) == {"base.gguf", "adapter.gguf"}


@pytest.mark.parametrize(("quant", "value"), [("F16", 65504), ("BF16", 1e30), ("Q8_0", 70000), (None, 3e38)])
def test_a_large_weight_that_fits_is_merged(models, adapter, tmp_path, quant, value):
    model = models.Model("llama", 2, width=64, ffn=64, tied=False)
    base = planted(model.write(tmp_path / "base.gguf", "F32"), "blk.1.attn_q.weight", value)
    merge_adapter(base, adapter(model, ["blk.0.attn_q.weight"]), tmp_path / "out.gguf", quant=quant)
    assert weights(tmp_path / "out.gguf", "blk.1.attn_q.weight").max() == pytest.approx(value, rel=0.02)


@pytest.mark.parametrize("tensor", ["blk.0.attn_q.weight", "token_embd.weight"])
@pytest.mark.parametrize("zero", ["a", "b"])
def test_an_adapter_with_one_half_all_zero_is_untrained(models, tmp_path, tensor, zero):
    model = models.Model("llama", 1, width=64, ffn=64, vocab=32, tied=False)
    base = model.write(tmp_path / "base.gguf")
    rows, columns = model.shapes()[tensor]
    halves = {"a": np.ones((4, columns), "f4"), "b": np.ones((rows, 4), "f4")}
    if tensor == "token_embd.weight":
        halves = {"a": np.ones((rows, 4), "f4"), "b": np.ones((columns, 4), "f4")}
    halves[zero] *= 0
    lora = models.write_adapter(tmp_path / "a.gguf", "llama", {tensor: (halves["a"], halves["b"])})
    with pytest.raises(AdapterUnusable, match="untrained"):
        merge_adapter(base, lora, tmp_path / "out.gguf")
    halves[zero] += 1
    lora = models.write_adapter(tmp_path / "b.gguf", "llama", {tensor: (halves["a"], halves["b"])})
    assert merge_adapter(base, lora, tmp_path / "out.gguf").merged == 1


def test_halves_that_are_zero_in_different_experts_change_nothing(models, tmp_path):
    model = models.Model("llama", 1, width=64, ffn=64, layer=models.MOE, experts=2, tied=False)
    experts, rows, columns = model.shapes()["blk.0.ffn_up_exps.weight"]
    a, b = np.zeros((experts, 4, columns), "f4"), np.zeros((experts, rows, 4), "f4")
    a[0], b[1] = 1, 1
    lora = models.write_adapter(tmp_path / "a.gguf", "llama", {"blk.0.ffn_up_exps.weight": (a, b)})
    with pytest.raises(AdapterUnusable, match="untrained"):
        merge_adapter(model.write(tmp_path / "base.gguf"), lora, tmp_path / "out.gguf")


@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), "sixteen", [16.0], True])
def test_an_alpha_that_is_no_number_is_a_damaged_file(model, models, tmp_path, alpha):
    halves = (np.ones((4, 64), "f4"), np.ones((64, 4), "f4"))
    lora = models.write_adapter(
        tmp_path / "a.gguf", "llama", {"blk.0.attn_q.weight": halves}, alpha=None, keys={"adapter.lora.alpha": alpha}
    )
    with pytest.raises(BadFile, match="alpha is no number") as caught:
        merge_adapter(model.write(tmp_path / "base.gguf"), lora, tmp_path / "out.gguf")
    assert str(lora) in caught.value.where


@pytest.mark.parametrize("count", ["two", [1, 2]])
def test_a_split_count_of_another_type_is_refused_too(model, adapter, tmp_path, count):
    odd = dataclasses.replace(model, metadata={"split.count": count}).write(tmp_path / "odd.gguf")
    with pytest.raises(BadFile, match="split"):
        merge_adapter(odd, adapter(model), tmp_path / "out.gguf")


def test_two_merges_into_one_file_do_not_write_into_each_other(model, adapter, tmp_path):
    base, lora, out = model.write(tmp_path / "base.gguf"), adapter(model), tmp_path / "out.gguf"

    def second(done, of):
        if done == 3:
            with pytest.raises(Busy, match="another ggship writes that file"):
                merge_adapter(base, lora, out, quant="Q8_0")

    merge_adapter(base, lora, out, on_tensor=second)
    merge_adapter(base, lora, tmp_path / "alone.gguf")
    assert out.read_bytes() == (tmp_path / "alone.gguf").read_bytes()
    assert merge_adapter(base, lora, out, quant="Q8_0").quant == "Q8_0"  # the lock went with the first


def test_words_that_changed_places_on_the_disk_are_found(model, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F32")
    (source,) = [tensor for tensor in read_gguf(base).tensors if tensor.name == "blk.0.attn_q.weight"]
    with (
        Source(read_gguf(base)) as file,
        GgufWriter(tmp_path / "out.gguf", {}, [NewTensor("t", source.shape, source.type)]) as out,
    ):
        worker = ChunkWorker(file, out, best_kernels())
        assert chunk_count(source) == 1
        chunk = chunk_at(source, out.tensors[0], 0)
        checksum = worker.change(chunk, None).checksum
        worker.check(chunk.target_offset, chunk.nbytes, checksum)
        first, second = (os.pread(out.fd, 8, chunk.target_offset + 8 * at) for at in (3, 11))
        out.write_at(chunk.target_offset + 24, second)
        out.write_at(chunk.target_offset + 88, first)
        with pytest.raises(BadFile, match="not what was written"):
            worker.check(chunk.target_offset, chunk.nbytes, checksum)


def test_files_that_are_the_wrong_ones_are_refused(model, adapter, tmp_path):
    base, lora = model.write(tmp_path / "base.gguf"), adapter(model)
    for arguments, error, says in (
        ((lora, lora, tmp_path / "out.gguf"), BadFile, "no base model"),
        ((base, base, tmp_path / "out.gguf"), BadFile, "no LoRA adapter"),
        ((base, lora, base), UsageError, "overwrite"),
    ):
        with pytest.raises(error, match=says):
            merge_adapter(*arguments)
    with pytest.raises(UsageError, match="Q3_K_M"):
        merge_adapter(base, lora, tmp_path / "out.gguf", quant="Q3_K_M")
    split = dataclasses.replace(model, metadata={"split.count": 2}).write(tmp_path / "split.gguf")
    with pytest.raises(BadFile, match="one of 2 parts") as caught:
        merge_adapter(split, lora, tmp_path / "out.gguf")
    assert "-00001-of-00002.gguf" in caught.value.hint


def test_stopping_in_the_middle_leaves_what_was_there(model, adapter, tmp_path):
    base, lora = model.write(tmp_path / "base.gguf"), adapter(model)
    (tmp_path / "out.gguf").write_text("the old one")

    def stop(done, of):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_adapter(base, lora, tmp_path / "out.gguf", on_tensor=stop)
    assert (tmp_path / "out.gguf").read_text() == "the old one"
    assert names(tmp_path) == {"base.gguf", "adapter.gguf", "out.gguf"}


@pytest.mark.live
@pytest.mark.parametrize("kind", ["F16", "Q4_0"])
def test_f16_is_within_one_step_of_the_real_llama_export_lora(models, adapter, llama_cpp, tmp_path, kind):
    model = models.Model("llama", 3, width=256, ffn=512, tied=False)
    base, lora = model.write(tmp_path / "base.gguf", kind), adapter(model, rank=8)
    program = llama_cpp("llama-export-lora")
    command = [program, "-m", base, "--lora", lora, "-o", tmp_path / "theirs.gguf"]
    environment = os.environ | {"LD_LIBRARY_PATH": str(Path(program).parent)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    merge_adapter(base, lora, tmp_path / "ours.gguf", quant="F16")
    for name in types(base):
        if name.startswith("blk.") and "norm" not in name:
            ours, theirs = (np.frombuffer(raw(tmp_path / f"{who}.gguf", name), "i2") for who in ("ours", "theirs"))
            ordered = [np.where(half < 0, -(half.astype(int) & 0x7FFF), half) for half in (ours, theirs)]
            assert np.abs(ordered[0] - ordered[1]).max() <= 1, name
