"""Several adapters on one base: what llama.cpp computes is what PEFT computes with all of them active."""

from __future__ import annotations

import pytest

from ggship.convert import convert_adapter
from ggship.convert.merging import merge_run
from ggship.convert.routes import route_of
from ggship.gguf.merge import merge_adapter
from ggship.runs.several import RunRef, read_runs

from .prompts import compare, reference
from .routes import base_of

pytestmark = pytest.mark.hf

WEIGHTS = {"law": 0.7, "tone": -0.4, "form": 1.0}
ATTENTION, FEED_FORWARD = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
CONFIGS = {
    "law": {"r": 4, "lora_alpha": 6, "target_modules": [*ATTENTION, *FEED_FORWARD]},
    "tone": {"r": 8, "lora_alpha": 3, "use_rslora": True, "target_modules": ATTENTION},
    "form": {"r": 2, "lora_alpha": 2, "rank_pattern": {"up_proj": 3}, "target_modules": [*FEED_FORWARD, "q_proj"]},
}


@pytest.fixture
def trained(tiny_base, tmp_path):
    """trained(name of the architecture): (base, model of PEFT with three adapters, each saved under its name)."""
    import torch
    from peft import LoraConfig, get_peft_model

    def make(name):
        base = tiny_base(name)
        torch.manual_seed(7)
        configs = {key: LoraConfig(task_type="CAUSAL_LM", **config) for key, config in CONFIGS.items()}
        tuned = get_peft_model(base.model(), configs["law"], adapter_name="law")
        for key in ("tone", "form"):
            tuned.add_adapter(key, configs[key])
        with torch.no_grad():
            for part, weight in tuned.named_parameters():
                if "lora_" in part:
                    weight += 0.15 * torch.randn_like(weight)
        tuned.save_pretrained(tmp_path / "runs")
        return base, tuned.eval()

    return make


def shipped(base, out, **weights):
    """(adapter, merged model) of a blend of the saved runs."""
    blend = read_runs([RunRef(out / "runs" / name, weight) for name, weight in weights.items()])
    convert_adapter(blend, out / "adapter.gguf", base=base_of(base.folder, base.gguf))
    merge_adapter(base.gguf, out / "adapter.gguf", out / "merged.gguf", threads=1)
    return out / "adapter.gguf", out / "merged.gguf"


def same(base, expected, found):
    difference = compare(expected, found)
    return difference.largest <= base.architecture.tolerance and difference.kl <= base.architecture.kl_tolerance


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_blend_is_what_peft_computes_with_all_adapters_active(name, trained, distribution, tmp_path):
    from peft.tuners.lora import LoraLayer

    base, tuned = trained(name)
    tuned.base_model.set_adapter(list(WEIGHTS))
    for module in (module for module in tuned.modules() if isinstance(module, LoraLayer)):
        for key in module.scaling:
            module.set_scale(key, WEIGHTS[key])

    adapter, merged = shipped(base, tmp_path, **WEIGHTS)

    expected = reference(tuned)
    assert compare(base.expected, expected).largest > 100 * base.architecture.tolerance
    assert same(base, expected, distribution(base.gguf, adapter))
    assert same(base, expected, distribution(merged))
    assert same(base, reference(tuned.merge_and_unload()), distribution(merged))


def test_a_blend_is_pefts_cat_and_not_its_linear(trained, distribution, tmp_path):
    base, tuned = trained("llama")
    names, weights = ["law", "form"], [WEIGHTS["law"], WEIGHTS["form"]]
    adapter, _ = shipped(base, tmp_path, **dict(zip(names, weights, strict=True)))
    found = distribution(base.gguf, adapter)

    tuned.add_weighted_adapter(names, weights, "cat", combination_type="cat")
    tuned.set_adapter("cat")
    assert same(base, reference(tuned), found)


def test_pefts_linear_is_another_thing(trained, distribution, tmp_path):
    """Sums of A times sums of B: all the products across come with it (tuners/lora/model.py)."""
    base, tuned = trained("llama")
    tuned.add_weighted_adapter(["law"], [0.5], "fainter", combination_type="linear")
    tuned.add_weighted_adapter(["law", "fainter"], [1.0, 1.0], "linear", combination_type="linear")
    tuned.set_adapter("linear")
    adapter, _ = shipped(base, tmp_path, law=1.5)
    assert not same(base, reference(tuned), distribution(base.gguf, adapter))
    tuned.add_weighted_adapter(["law", "fainter"], [1.0, 1.0], "sum", combination_type="cat")
    tuned.set_adapter("sum")
    assert same(base, reference(tuned), distribution(base.gguf, adapter))


def test_pefts_cat_of_rslora_is_scaled_once_too_often(trained, distribution, tmp_path):
    """It keeps use_rslora of the first with alpha = rank, so that its scale is the root of the rank instead of 1."""
    base, tuned = trained("llama")
    tuned.add_weighted_adapter(["tone", "law"], [1.0, 1.0], "cat", combination_type="cat")
    tuned.set_adapter("cat")
    adapter, _ = shipped(base, tmp_path, tone=1.0, law=1.0)
    assert not same(base, reference(tuned), distribution(base.gguf, adapter))
    tuned.base_model.set_adapter(["tone", "law"])
    assert same(base, reference(tuned), distribution(base.gguf, adapter))


def test_dora_beside_a_plain_adapter_on_other_modules(tiny_base, distribution, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model

    base = tiny_base("llama")
    torch.manual_seed(7)
    dora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, use_dora=True, target_modules=ATTENTION)
    plain = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, target_modules=FEED_FORWARD)
    tuned = get_peft_model(base.model(), dora, adapter_name="dora")
    tuned.add_adapter("plain", plain)
    with torch.no_grad():
        for part, weight in tuned.named_parameters():
            if "lora_" in part:
                weight += 0.15 * torch.randn_like(weight)
    tuned.save_pretrained(tmp_path / "runs")
    tuned.base_model.set_adapter(["dora", "plain"])

    run, given = (
        read_runs([RunRef(tmp_path / "runs" / name) for name in ("plain", "dora")]),
        base_of(base.folder, base.gguf),
    )
    merge_run(run, given, tmp_path / "merged.gguf", route=route_of(run, given), threads=1)

    assert same(base, reference(tuned.eval()), distribution(tmp_path / "merged.gguf"))
