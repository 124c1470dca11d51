"""Several runs as one: what is written is the weighted sum of what each of them trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ggship.convert import convert_adapter
from ggship.convert.tensors import tensor_reader, to_float32
from ggship.errors import AdapterUnusable, BaseMismatch, NotExpressible, PromptMismatch, UsageError
from ggship.runs import Run, read_run
from ggship.runs.blend import blend
from ggship.runs.model import Share
from ggship.runs.several import RunRef, parse_run_ref, read_runs

MODULES = ("model.layers.0.self_attn.v_proj", "model.layers.0.mlp.down_proj", "model.layers.10.mlp.up_proj")
SHAPE = (6, 5)


@st.composite
def adapters(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, object], str, float]:
    """(rank of each module, config, type of the numbers, weight): nothing need be the same in two of them."""
    ranks = draw(st.dictionaries(st.sampled_from(MODULES), st.integers(1, 5), min_size=1))
    config = {
        "use_rslora": draw(st.booleans()),
        "lora_alpha": draw(st.floats(0.25, 64)),
        "alpha_pattern": draw(st.sampled_from(({}, {"down_proj": 3}))),
    }
    weight = draw(st.floats(-4, 4).filter(lambda number: abs(number) > 1e-3))
    return ranks, config, draw(st.sampled_from(("float32", "float16"))), weight


def written(folder: Path, ranks: dict[str, int], config: dict[str, object], dtype: str, seed: int) -> Run:
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, rank in ranks.items():
        stem = f"base_model.model.{name}"
        tensors[f"{stem}.lora_A.weight"] = rng.standard_normal((rank, SHAPE[1])).astype(dtype)
        tensors[f"{stem}.lora_B.weight"] = rng.standard_normal((SHAPE[0], rank)).astype(dtype)
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, **config}))
    save_file(tensors, folder / "adapter_model.safetensors")
    return read_run(folder)


def deltas(run: Run) -> dict[str, np.ndarray]:
    with tensor_reader() as reader:
        return {
            module.name: module.scale
            * to_float32(module.b, reader.read(module.b)).astype(float)
            @ to_float32(module.a, reader.read(module.a)).astype(float)
            for module in run.modules
        }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(adapters(), min_size=1, max_size=3))
def test_the_update_of_a_blend_is_the_weighted_sum_of_the_updates(parts, tmp_path):
    shares = [
        Share(written(tmp_path / f"run{number}", ranks, config, dtype, number), weight)
        for number, (ranks, config, dtype, weight) in enumerate(parts)
    ]
    wanted: dict[str, np.ndarray] = {}
    for share in shares:
        for name, delta in deltas(share.run).items():
            wanted[name] = wanted.get(name, 0.0) + share.weight * delta

    found = deltas(blend(shares))

    assert found.keys() == wanted.keys()
    for name, delta in wanted.items():
        size = max(np.abs(share.weight * deltas(share.run).get(name, np.zeros(1))).max() for share in shares)
        np.testing.assert_allclose(found[name], delta, rtol=0, atol=40 * 2.0**-24 * max(size, 1.0) * 10)


Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def tone(make_run, tensors) -> Run:
    """A second run: other numbers, rsLoRA, another rank and no k_proj."""
    kept = {name: -2 * array[:, :2] if "_B" in name else 3 * array[:2] for name, array in tensors.items()}
    kept = {name: np.ascontiguousarray(array) for name, array in kept.items() if "k_proj" not in name}
    return make_run(kept, name="tone", r=2, use_rslora=True)


def test_a_blend_becomes_one_adapter_file(make_run, make_base, tensors, tone, tmp_path, read_gguf):
    law = make_run(tensors, name="law", lora_alpha=6)
    both = read_runs([RunRef(law.root, 0.7), RunRef(tone.root, -0.5)])
    result = convert_adapter(both, tmp_path / "a.gguf", base=make_base("qwen2", tensors=True))
    fields, found = read_gguf(tmp_path / "a.gguf")

    def delta(name: str) -> np.ndarray:
        a, b = found[f"{name}.weight.lora_a"].astype(float), found[f"{name}.weight.lora_b"].astype(float)
        return fields["adapter.lora.alpha"] / len(a) * b @ a  # llama.cpp: src/llama-adapter.h, get_scale

    def trained(run: Run, name: str) -> np.ndarray:
        return deltas(replace(run, modules=tuple(module for module in run.modules if module.name == name)))[name]

    assert (result.pairs, result.folded) == (14, ())
    assert found["blk.0.attn_q.weight.lora_a"].shape == (4 + 2, 32)
    assert found["blk.0.attn_k.weight.lora_a"].shape == (4, 32)
    q, k = "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj"
    np.testing.assert_allclose(delta("blk.0.attn_q"), 0.7 * trained(law, q) - 0.5 * trained(tone, q), atol=1e-5)
    np.testing.assert_allclose(delta("blk.0.attn_k"), 0.7 * trained(law, k), atol=1e-5)


def test_a_run_alone_at_weight_one_is_itself(make_run):
    run = make_run()
    assert read_runs([RunRef(run.root)]) == run
    assert read_runs([RunRef(run.root, 0.5)], scale=2.0) == run


def test_scale_multiplies_the_whole_update(make_run, make_base, tensors, tmp_path, read_gguf):
    run = read_runs([RunRef(make_run(tensors, use_rslora=True).root)], scale=0.25)
    convert_adapter(run, tmp_path / "a.gguf", base=make_base("qwen2"))
    fields, found = read_gguf(tmp_path / "a.gguf")
    scaled = fields["adapter.lora.alpha"] / 4 * found["blk.0.attn_q.weight.lora_b"]
    np.testing.assert_allclose(scaled, 0.25 * 8 / 2 * tensors[f"{Q0}.lora_B.weight"], rtol=1e-6)
    np.testing.assert_array_equal(found["blk.0.attn_q.weight.lora_a"], tensors[f"{Q0}.lora_A.weight"])


def test_half_precision_stays_as_it_is_where_nothing_is_multiplied(make_run, tensors):
    halves = {name: array.astype(np.float16) for name, array in tensors.items()}
    shares = [Share(make_run(halves, name=name, lora_alpha=4), 1.0) for name in ("a", "b")]
    module = blend(shares).modules[0]
    assert (module.a.dtype, module.b.dtype, module.rank, module.scale) == ("F16", "F16", 8, 1.0)


@pytest.mark.parametrize(
    ("text", "weight"), [("lora@0.7", 0.7), ("lora@-1", -1.0), ("lora/@2e-1", 0.2), ("lora", 1.0), ("a@b/lora", 1.0)]
)
def test_a_weight_comes_after_the_last_at(text, weight, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lora").mkdir()
    assert parse_run_ref(text) == RunRef(Path(text if weight == 1.0 else "lora"), weight)


def test_an_at_in_the_name_of_a_directory_is_part_of_it(tmp_path):
    (tmp_path / "lora@v2").mkdir()
    (tmp_path / "lora@3").mkdir()
    assert parse_run_ref(f"{tmp_path}/lora@v2") == RunRef(tmp_path / "lora@v2")
    assert parse_run_ref(f"{tmp_path}/lora@v2@0.5") == RunRef(tmp_path / "lora@v2", 0.5)
    assert parse_run_ref(f"{tmp_path}/lora@3") == RunRef(tmp_path / "lora@3")
    (tmp_path / "lora").mkdir()
    with pytest.raises(UsageError, match="two things") as refused:
        parse_run_ref(f"{tmp_path}/lora@3")
    assert f"{tmp_path}/lora@3@1" in refused.value.hint
    assert parse_run_ref(f"{tmp_path}/lora/@3") == RunRef(tmp_path / "lora", 3.0)


@pytest.mark.parametrize("weight", ["0", "-0", "nan", "inf", "-Infinity", "1e999", "much", "", "0.5.1"])
def test_what_is_no_weight_is_refused(weight, tmp_path):
    (tmp_path / "lora").mkdir()
    with pytest.raises(UsageError) as refused:
        parse_run_ref(f"{tmp_path}/lora@{weight}")
    assert refused.value.hint


def test_the_same_adapter_twice_is_a_slip(make_run, tmp_path):
    run = make_run(name="law")
    (tmp_path / "link").symlink_to("law")
    with pytest.raises(UsageError, match="twice") as refused:
        read_runs([RunRef(run.root), RunRef(tmp_path / "link", 0.5)])
    assert "@1.5" in refused.value.hint


def test_a_run_and_its_own_last_checkpoint_are_one_adapter(make_run, tensors):
    run, copy = make_run(name="law"), make_run(name="copy")
    with pytest.raises(UsageError, match="count twice") as refused:
        read_runs([RunRef(run.root), RunRef(copy.root, 0.5)])
    assert "copy" in refused.value.where
    other = make_run({name: array + 1 for name, array in tensors.items()}, name="other")
    assert len(read_runs([RunRef(run.root), RunRef(other.root)]).shares) == 2


def test_runs_of_different_bases_are_refused_unless_the_base_is_named(make_run, tensors, tone):
    law = make_run(name="law", base_model_name_or_path="Qwen/Qwen2.5-0.5B-Instruct")
    others = [{name: array * times for name, array in tensors.items()} for times in (2, 3)]
    copy = make_run(others[0], name="copy", base_model_name_or_path="/data/Qwen2.5-0.5B-Instruct")
    plain = make_run(others[1], name="plain", base_model_name_or_path="Qwen/Qwen2.5-0.5B")
    with pytest.raises(BaseMismatch, match="different bases") as refused:
        read_runs([RunRef(law.root), RunRef(plain.root)])
    assert "plain: Qwen/Qwen2.5-0.5B" in refused.value.where
    assert len(read_runs([RunRef(law.root), RunRef(plain.root)], base_named=True).shares) == 2
    assert len(read_runs([RunRef(law.root), RunRef(copy.root), RunRef(tone.root)]).shares) == 3


def test_modules_of_different_shapes_are_of_different_bases(make_run, tensors, tone):
    wider = {name: np.pad(array, [(0, 0), (0, 8)]) if "_A" in name else array for name, array in tensors.items()}
    with pytest.raises(BaseMismatch, match="different bases"):
        read_runs([RunRef(tone.root), RunRef(make_run(wider, name="wider").root)], base_named=True)


def test_runs_of_different_prompts_are_refused_unless_one_is_named(make_run, tone):
    law = make_run(name="law")
    for run, text in ((law, "{{ messages }}"), (tone, "{{ messages[0] }}")):
        (run.root / "chat_template.jinja").write_text(text)
    refs = [RunRef(law.root), RunRef(tone.root)]
    with pytest.raises(PromptMismatch) as refused:
        read_runs(refs)
    assert "--template" in refused.value.hint
    assert read_runs(refs, template_named=True).chat_template == "{{ messages }}"


def test_a_run_trained_without_a_chat_template_is_not_blended_with_one_that_had_one(make_run, tone):
    refs = [RunRef(make_run(name="law").root), RunRef(tone.root)]

    def say(ref: RunRef, kind: str) -> None:
        config = (
            f"base_model: org/Tiny\nadapter: lora\nchat_template: chatml\ndatasets:\n  - {{path: a.json, type: {kind}}}"
        )
        summary = "<details><summary>See axolotl config</summary>\n\naxolotl version: `0.19.0`\n"
        (ref.path / "README.md").write_text(f"{summary}```yaml\n{config}\n```\n\n</details>")

    say(refs[0], "alpaca")
    say(refs[1], "chat_template")
    with pytest.raises(PromptMismatch) as refused:
        read_runs(refs)
    assert "law: dataset alpaca" in refused.value.where
    say(refs[1], "alpaca")
    both = read_runs(refs).training
    assert both.template is not None
    assert (both.template.name, both.settings) == ("alpaca", ())


def test_a_run_that_adds_nothing_is_refused(make_run, make_base, tensors, tone, tmp_path):
    empty = make_run({name: array * ("_A" in name) for name, array in tensors.items()}, name="empty")
    both = read_runs([RunRef(tone.root), RunRef(empty.root)])
    with pytest.raises(AdapterUnusable, match="untrained") as refused:
        convert_adapter(both, tmp_path / "a.gguf", base=make_base("qwen2"))
    assert "empty" in refused.value.where


def test_weights_that_no_float_can_hold_are_refused(make_run, make_base, tensors, tmp_path):
    run = read_runs([RunRef(make_run(tensors).root, 1e300)])
    with pytest.raises(NotExpressible, match="too large"):
        convert_adapter(run, tmp_path / "a.gguf", base=make_base("qwen2"))
