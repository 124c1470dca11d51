"""Against PEFT itself: what llama.cpp will add to the base is what PEFT adds, whichever converter wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggship.bases.model import Base
from ggship.convert import convert_adapter
from ggship.convert.native import permuted
from ggship.runs import read_run

pytestmark = pytest.mark.hf

HEADS = {"q_proj": 4, "k_proj": 2}
SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TENSORS = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Mapping[str, Any]]:
    """trained(model_type, **lora_config): writes base/ and lora/, gives PEFT's own delta of each GGUF tensor."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    def train(model_type: str, **config: Any) -> Mapping[str, Any]:
        torch.manual_seed(0)
        base_config = AutoConfig.for_model(model_type, **SMALL)
        model = AutoModelForCausalLM.from_config(base_config)
        base_config.architectures = [type(model).__name__]
        base_config.save_pretrained(tmp_path / "base")
        tuned = get_peft_model(
            model, LoraConfig(r=8, lora_alpha=6, task_type="CAUSAL_LM", target_modules=list(TENSORS), **config)
        )
        for name, weight in tuned.named_parameters():
            if "lora_" in name:
                weight.data = torch.randn_like(weight)
        tuned.save_pretrained(tmp_path / "lora")
        deltas = {}
        for name, module in tuned.named_modules():
            if hasattr(module, "get_delta_weight"):
                block, projection = name.split("layers.")[1].split(".")[0], name.rpartition(".")[2]
                delta = module.get_delta_weight("default").detach().double().numpy()
                if model_type == "llama" and projection in HEADS:
                    delta = permuted(delta, HEADS[projection])
                deltas[f"blk.{block}.{TENSORS[projection]}.weight"] = delta
        return deltas

    return train


PATTERNS = {
    "use_rslora": True,
    "rank_pattern": {"k_proj": 2, r"layers\.1\.self_attn\.q_proj": 16},
    "alpha_pattern": {"v_proj": 12, r"layers\.0\.self_attn\.o_proj": 1},
}


@pytest.mark.parametrize(
    ("converter", "model_type", "config"),
    [
        ("native", "llama", {"use_rslora": True}),
        ("native", "llama", PATTERNS),
        ("llamacpp", "llama", PATTERNS),
        ("native", "qwen2", {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 3, "v_proj": 9}}),
    ],
)
def test_rslora_and_patterns_survive_conversion(model_type, config, converter, trained, tmp_path, read_gguf):
    deltas = trained(model_type, **config)
    base = Base(ref="base", architecture=model_type, found="made here", config_dir=tmp_path / "base")

    result = convert_adapter(read_run(tmp_path / "lora"), tmp_path / "a.gguf", base=base, converter=converter)

    fields, found = read_gguf(tmp_path / "a.gguf")
    assert result.converter == converter
    assert result.pairs == len(deltas) == len(found) // 2
    assert result.folded
    for name, delta in deltas.items():
        a, b = found[f"{name}.lora_a"].astype(float), found[f"{name}.lora_b"].astype(float)
        scale = fields["adapter.lora.alpha"] / b.shape[1]  # llama.cpp: src/llama-adapter.h, get_scale
        np.testing.assert_allclose(scale * (b @ a), delta, rtol=1e-5, atol=1e-5)


def test_an_architecture_that_only_the_vendored_script_knows(trained, tmp_path, read_gguf):
    deltas = trained("starcoder2")
    base = Base(ref="base", architecture="starcoder2", found="made here", config_dir=tmp_path / "base")

    result = convert_adapter(read_run(tmp_path / "lora"), tmp_path / "a.gguf", base=base)

    fields, found = read_gguf(tmp_path / "a.gguf")
    assert result.converter == "llamacpp"
    assert result.converter_version.startswith("llama.cpp ")
    assert fields["general.architecture"] == "starcoder2"
    for name, delta in deltas.items():
        np.testing.assert_allclose(
            6 / 8 * (found[f"{name}.lora_b"] @ found[f"{name}.lora_a"]), delta, rtol=1e-5, atol=1e-5
        )
