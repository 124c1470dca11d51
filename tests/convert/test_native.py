"""The native converter, on runs written by hand: nothing but the core dependencies."""

from __future__ import annotations

import errno
import resource
import struct
from pathlib import Path

import numpy as np
import pytest

from ggship.convert import convert_adapter
from ggship.errors import AdapterUnusable, BadFile, BaseMismatch, NotExpressible, UsageError
from ggship.runs import read_run

Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


def halves_interleaved(b, heads):
    """Row i of the first half of a head beside row i of the second, written out row by row."""
    size = b.shape[0] // heads
    rows = []
    for head in range(heads):
        for i in range(size // 2):
            rows += [b[head * size + i], b[head * size + size // 2 + i]]
    return np.array(rows)


def test_every_pair_lands_under_its_gguf_name_and_q_and_k_are_reordered(
    make_run, make_base, tensors, tmp_path, read_gguf
):
    result = convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base())
    fields, found = read_gguf(tmp_path / "a.gguf")

    assert (result.pairs, result.converter, result.architecture) == (14, "native", "llama")
    assert result.bytes == (tmp_path / "a.gguf").stat().st_size
    assert fields["general.type"] == "adapter"
    assert fields["adapter.type"] == "lora"
    assert fields["adapter.lora.alpha"] == 8.0
    assert len(found) == 28
    np.testing.assert_array_equal(found["blk.0.attn_q.weight.lora_a"], tensors[f"{Q0}.lora_A.weight"])
    np.testing.assert_array_equal(
        found["blk.0.attn_q.weight.lora_b"], halves_interleaved(tensors[f"{Q0}.lora_B.weight"], heads=4)
    )
    k1 = tensors[f"{Q0}.lora_B.weight".replace("0.self_attn.q", "1.self_attn.k")]
    np.testing.assert_array_equal(found["blk.1.attn_k.weight.lora_b"], halves_interleaved(k1, heads=2))
    down = tensors["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"]
    np.testing.assert_array_equal(found["blk.1.ffn_down.weight.lora_b"], down)


def test_other_families_keep_the_order_of_rows(make_run, make_base, tensors, tmp_path, read_gguf):
    convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base("qwen2"))
    _, found = read_gguf(tmp_path / "a.gguf")
    np.testing.assert_array_equal(found["blk.0.attn_q.weight.lora_b"], tensors[f"{Q0}.lora_B.weight"])


def test_the_same_run_gives_the_same_bytes(make_run, make_base, tmp_path):
    run = make_run()
    convert_adapter(run, tmp_path / "a.gguf", base=make_base())
    convert_adapter(run, tmp_path / "b.gguf", base=make_base(tensors=True))
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize("outtype", ["f32", "f16", "bf16"])
def test_numbers_are_rounded_to_the_outtype_and_no_further(outtype, make_run, make_base, tensors, tmp_path, read_gguf):
    convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base("qwen2"), outtype=outtype)
    _, found = read_gguf(tmp_path / "a.gguf")
    a, wanted = found["blk.0.attn_q.weight.lora_a"], tensors[f"{Q0}.lora_A.weight"]
    np.testing.assert_allclose(a, wanted, rtol={"f32": 0, "f16": 2**-11, "bf16": 2**-8}[outtype])


@pytest.mark.parametrize(
    ("config", "true_scale"),
    [
        ({"use_rslora": True}, {"q_proj": 8 / 2, "k_proj": 8 / 2, "down_proj": 8 / 2}),
        ({"alpha_pattern": {"q_proj": 3}}, {"q_proj": 3 / 4, "k_proj": 8 / 4, "down_proj": 8 / 4}),
        (
            {
                "use_rslora": True,
                "rank_pattern": {"k_proj": 2},
                "alpha_pattern": {"q_proj": 5},
                "ranks": {"self_attn.k_proj": 2},
            },
            {"q_proj": 5 / 2, "k_proj": 8 / 2**0.5, "down_proj": 8 / 2},
        ),
        ({"rank_pattern": {"k_proj": 2}, "ranks": {"self_attn.k_proj": 2}}, {"q_proj": 8 / 4, "k_proj": 8 / 2}),
    ],
)
def test_what_llama_cpp_will_add_is_what_peft_trained(config, true_scale, make_run, make_base, tmp_path, read_gguf):
    run = make_run(**config)
    result = convert_adapter(run, tmp_path / "a.gguf", base=make_base("qwen2"))
    fields, found = read_gguf(tmp_path / "a.gguf")
    stored = {header.name: header for header in run.tensors.values()}
    names = {"q_proj": ("self_attn", "attn_q"), "k_proj": ("self_attn", "attn_k"), "down_proj": ("mlp", "ffn_down")}
    for name, scale in true_scale.items():
        stem = f"base_model.model.model.layers.0.{names[name][0]}.{name}"
        a, b = (raw(stored[f"{stem}.lora_{half}.weight"]) for half in "AB")
        ours_a, ours_b = (found[f"blk.0.{names[name][1]}.weight.lora_{half}"] for half in "ab")
        theirs = fields["adapter.lora.alpha"] / ours_b.shape[1]  # llama.cpp: src/llama-adapter.h, get_scale
        np.testing.assert_allclose(
            theirs * (ours_b.astype(float) @ ours_a), scale * (b.astype(float) @ a), rtol=1e-6, atol=1e-6
        )
    assert bool(result.folded) == ("use_rslora" in config or "alpha_pattern" in config)


def raw(header):
    count = header.nbytes // 4
    return np.fromfile(header.file, "<f4", count=count, offset=header.offset).reshape(header.shape)


def test_only_the_modules_whose_scale_differs_are_folded(make_run, make_base, tmp_path):
    result = convert_adapter(make_run(alpha_pattern={"q_proj": 3}), tmp_path / "a.gguf", base=make_base())
    assert result.folded == ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj")


def test_an_embedding_is_turned_as_llama_cpp_looks_it_up(make_run, make_base, tensors, tmp_path, read_gguf):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((4, 96)).astype(np.float32), rng.standard_normal((32, 4)).astype(np.float32)
    tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = a
    tensors["base_model.model.model.embed_tokens.lora_embedding_B"] = b
    tensors["base_model.model.model.embed_tokens.base_layer.weight"] = np.zeros((96, 32), np.float32)
    convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base())
    _, found = read_gguf(tmp_path / "a.gguf")
    np.testing.assert_array_equal(found["token_embd.weight.lora_a"], a.T)
    np.testing.assert_array_equal(found["token_embd.weight.lora_b"], b)


def test_raw_state_dict_names_are_read_too(make_run, make_base, tensors, tmp_path):
    raw_names = {name.replace(".weight", ".default.weight"): tensor for name, tensor in tensors.items()}
    convert_adapter(make_run(tensors, name="x/lora"), tmp_path / "a.gguf", base=make_base())
    convert_adapter(make_run(raw_names, name="y/lora"), tmp_path / "b.gguf", base=make_base())
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_the_model_card_gives_name_licence_and_base(make_run, make_base, tmp_path, read_gguf):
    run = make_run()
    card = "---\nlicense: mit\nbase_model: org/Base-7B\ntags:\n- lora\nlanguage:\n- no\n---\n# Law\n"
    (run.path / "README.md").write_text(card)
    convert_adapter(run, tmp_path / "a.gguf", base=make_base())
    fields, _ = read_gguf(tmp_path / "a.gguf")
    assert fields["general.license"] == "mit"
    assert fields["general.base_model.0.repo_url"].endswith("/org/Base-7B")
    assert fields["general.languages"] == ["no"]


@pytest.mark.parametrize(
    "card",
    [
        "a: [b\n: :",
        "base_model: [1, {a: b}, null]",
        "language: [zh, no]\ntags: [1, null]\nlicense: 2.0",
        "- a",
        "datasets: {a: 1}",
    ],
)
def test_an_odd_model_card_does_not_stop_the_conversion(card, make_run, make_base, tmp_path, read_gguf):
    run = make_run()
    (run.path / "README.md").write_text(f"---\n{card}\n---\n")
    convert_adapter(run, tmp_path / "a.gguf", base=make_base())
    fields, _ = read_gguf(tmp_path / "a.gguf")
    assert fields["general.name"] == "Law Lora"


def test_norwegian_is_a_language_not_false(make_run, make_base, tmp_path, read_gguf):
    run = make_run()
    (run.path / "README.md").write_text("---\nlanguage: [zh, no]\n---\n")
    convert_adapter(run, tmp_path / "a.gguf", base=make_base())
    assert read_gguf(tmp_path / "a.gguf")[0]["general.languages"] == ["zh", "no"]


def test_progress_counts_every_tensor(make_run, make_base, tmp_path):
    seen = []
    convert_adapter(
        make_run(), tmp_path / "a.gguf", base=make_base(), on_tensor=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (28, 28)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("converter", ["native"])
def test_nan_and_inf_are_refused_with_the_tensor_and_their_number(
    bad, converter, make_run, make_base, tensors, tmp_path
):
    tensors[f"{Q0}.lora_A.weight"][1, 2:5] = bad
    with pytest.raises(AdapterUnusable) as error:
        convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base(), converter=converter)
    assert f"{Q0}.lora_A.weight" in error.value.where
    assert f"3 {'NaN' if np.isnan(bad) else 'Inf'}" in error.value.where
    assert error.value.exit_code == 4
    assert not list(tmp_path.glob("a.gguf*"))


def test_an_untrained_adapter_is_refused_unless_forced(make_run, make_base, tensors, tmp_path):
    run = make_run({name: t * 0 if "lora_B" in name else t for name, t in tensors.items()})
    with pytest.raises(AdapterUnusable, match="untrained"):
        convert_adapter(run, tmp_path / "a.gguf", base=make_base())
    assert not list(tmp_path.glob("a.gguf*"))
    convert_adapter(run, tmp_path / "a.gguf", base=make_base(), force=True)
    assert (tmp_path / "a.gguf").is_file()


def test_one_trained_module_is_enough(make_run, make_base, tensors, tmp_path):
    run = make_run({name: t * 0 if "lora_B" in name and ".1.mlp.up" not in name else t for name, t in tensors.items()})
    convert_adapter(run, tmp_path / "a.gguf", base=make_base())


def test_a_file_cut_off_after_its_header_was_read_is_named(make_run, make_base, tmp_path):
    run = make_run()
    file = run.tensor_files[0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadFile, match="cut off"):
        convert_adapter(run, tmp_path / "a.gguf", base=make_base())
    assert not list(tmp_path.glob("a.gguf*"))


def test_bf16_that_is_nan_is_found(make_run, make_base, tmp_path):
    run = make_run()
    file = run.tensor_files[0]
    size = 2 * 4 * 32
    header = b'{"%s.lora_A.weight":{"dtype":"BF16","shape":[4,32],"data_offsets":[0,%d]},' % (Q0.encode(), size)
    header += b'"%s.lora_B.weight":{"dtype":"BF16","shape":[32,4],"data_offsets":[%d,%d]}}' % (
        Q0.encode(),
        size,
        2 * size,
    )
    bits = np.full(size, 0x3F80, "<u2")
    bits[3] = 0x7FC0
    file.write_bytes(struct.pack("<Q", len(header)) + header + bits.tobytes())
    with pytest.raises(AdapterUnusable) as error:
        convert_adapter(read_run(run.path), tmp_path / "a.gguf", base=make_base())
    assert "1 NaN in 128" in error.value.where


def test_a_number_beyond_f16_is_refused_not_turned_into_inf(make_run, make_base, tensors, tmp_path):
    tensors[f"{Q0}.lora_A.weight"][0, 0] = 70000
    with pytest.raises(NotExpressible, match="too large for f16"):
        convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base(), outtype="f16")
    convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base(), outtype="bf16")


def test_a_module_without_a_tensor_in_gguf_is_refused_not_dropped(make_run, make_base, tensors, tmp_path):
    for half, shape in (("A", (4, 32)), ("B", (32, 4))):
        tensors[f"base_model.model.model.vision_tower.layers.0.q_proj.lora_{half}.weight"] = np.ones(shape, np.float32)
    with pytest.raises(NotExpressible) as error:
        convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base("gemma3"))
    assert "vision_tower" in error.value.where


def test_a_layer_that_the_base_has_not_is_refused(make_run, make_base, tensors, tmp_path):
    more = {name.replace("layers.1.", "layers.7."): tensor for name, tensor in tensors.items()}
    with pytest.raises(NotExpressible, match="no tensor"):
        convert_adapter(make_run(more), tmp_path / "a.gguf", base=make_base())


def test_another_width_is_a_base_mismatch(make_run, make_base, tensors, tmp_path):
    tensors[f"{Q0}.lora_A.weight"] = np.ones((4, 64), np.float32)
    with pytest.raises(BaseMismatch) as error:
        convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base(tensors=True))
    assert "(32, 64)" in error.value.where
    assert "(32, 32)" in error.value.where


def test_a_tied_output_head_is_refused(make_run, make_base, tensors, tmp_path):
    for half, shape in (("A", (4, 32)), ("B", (96, 4))):
        tensors[f"base_model.model.lm_head.lora_{half}.weight"] = np.ones(shape, np.float32)
    with pytest.raises(NotExpressible, match="one weight of this base"):
        convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base(tensors=True))


def test_llama_without_head_counts_is_refused_rather_than_guessed(make_run, make_base, tmp_path):
    with pytest.raises(BaseMismatch, match="how many attention heads"):
        convert_adapter(make_run(), tmp_path / "a.gguf", base=make_base(metadata={}))


def test_head_counts_come_from_config_json_too(make_run, make_base, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(
        '{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "num_attention_heads": 4,'
        ' "num_key_value_heads": 2}'
    )
    convert_adapter(make_run(), tmp_path / "a.gguf", base=make_base())
    from_config = make_base(gguf=None, metadata={}, config_dir=tmp_path / "base")
    convert_adapter(make_run(), tmp_path / "b.gguf", base=from_config)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_an_unknown_outtype_or_converter_is_a_usage_error(make_run, make_base, tmp_path):
    with pytest.raises(UsageError, match="outtype"):
        convert_adapter(make_run(), tmp_path / "a.gguf", base=make_base(), outtype="q8_0")
    with pytest.raises(UsageError, match="converter"):
        convert_adapter(make_run(), tmp_path / "a.gguf", base=make_base(), converter="magic")


def test_native_asked_for_a_base_it_does_not_know_says_so(make_run, make_base, tmp_path):
    with pytest.raises(NotExpressible, match="does not know"):
        convert_adapter(make_run(), tmp_path / "a.gguf", base=make_base("starcoder2"), converter="native")


def test_an_existing_file_is_kept_when_the_conversion_fails(make_run, make_base, tensors, tmp_path: Path):
    out = tmp_path / "a.gguf"
    convert_adapter(make_run(tensors), out, base=make_base())
    before = out.read_bytes()
    tensors[f"{Q0}.lora_B.weight"][0, 0] = np.nan
    with pytest.raises(AdapterUnusable):
        convert_adapter(make_run(tensors), out, base=make_base())
    assert out.read_bytes() == before


def test_two_pairs_for_one_tensor_are_refused(make_run, make_base, tensors, tmp_path):
    for half in "AB":
        name = f"{Q0}.lora_{half}.weight"
        tensors[name.replace("model.model.layers", "model.layers")] = tensors[name]
    with pytest.raises(NotExpressible, match="same tensor"):
        convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base())


def test_a_disk_that_fills_up_leaves_nothing_and_says_why(make_run, make_base, tmp_path):
    run, limits = make_run(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(OSError) as error:  # noqa: PT011
            convert_adapter(run, tmp_path / "a.gguf", base=make_base())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.errno == errno.EFBIG
    assert not list(tmp_path.glob("a.gguf*"))
