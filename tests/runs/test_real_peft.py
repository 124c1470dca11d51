"""What PEFT itself saves is read as PEFT itself understands it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from ggship.errors import Refused
from ggship.runs import obstacles, read_run

pytestmark = pytest.mark.hf


@pytest.fixture
def train():
    """A tiny llama with a fresh adapter of the given LoraConfig."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)

    def make(**config):
        size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "vocab_size": 40}
        base = LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **size))
        fields = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj", "down_proj"], **config}
        return get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **fields))

    return make


def true_scales(model):
    """module -> (rank, scale, shape of its weight), as PEFT's own layers hold them."""
    return {
        name.removeprefix("base_model.model."): (
            layer.r["default"],
            layer.scaling["default"],
            tuple(layer.get_base_layer().weight.shape),
        )
        for name, layer in model.named_modules()
        if hasattr(layer, "lora_A") and (len(layer.lora_A) or len(layer.lora_embedding_A))
    }


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"lora_alpha": 6.5},
        {"use_rslora": True},
        {"rank_pattern": {"v_proj": 2, "layers.1.self_attn.q_proj": 6}},
        {"alpha_pattern": {r"model\.layers\.[01]\.self_attn\.q_proj": 64, "down_proj": 3, "proj": 99}},
        {"alpha_pattern": {"^model.layers.2.mlp.down_proj": 5}, "rank_pattern": {"down_proj": 3}, "use_rslora": True},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": "all-linear"},
    ],
)
def test_ranks_scales_and_shapes_are_pefts_own(config, train, tmp_path):
    model = train(**config)
    model.save_pretrained(tmp_path)
    run = read_run(tmp_path)
    found = {module.name: (module.rank, module.scale, module.base_shape) for module in run.modules}
    assert found == true_scales(model)
    assert run.parameters == model.get_nb_trainable_parameters()[0]
    assert run.unexpressed == ()
    assert obstacles(run) == ()


@pytest.mark.parametrize(
    ("config", "codes"),
    [
        ({"use_dora": True}, {"dora"}),
        ({"modules_to_save": ["lm_head"]}, {"saved-modules"}),
        ({"bias": "lora_only"}, set()),  # llama has no biases: none was trained
        ({"lora_bias": True}, {"bias"}),
        ({"init_lora_weights": "pissa"}, {"changed-base"}),
        ({"trainable_token_indices": {"embed_tokens": [1, 2]}}, {"trained-tokens"}),
    ],
)
def test_what_peft_saves_beyond_pairs_is_noticed(config, codes, train, tmp_path):
    train(**config).save_pretrained(tmp_path)
    found = {obstacle.code for obstacle in obstacles(read_run(tmp_path))}
    assert found == codes


def test_an_adapter_of_another_name_is_found_in_its_folder(train, tmp_path):
    from peft import LoraConfig

    model = train()
    model.add_adapter("law", LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(tmp_path, selected_adapters=["law"])
    run = read_run(tmp_path)
    assert run.path == tmp_path / "law"
    assert {module.rank for module in run.modules} == {2}


def test_the_way_out_of_a_pickle_works_as_printed(train, tmp_path):
    directory = tmp_path / "it's a run"
    train().save_pretrained(directory, safe_serialization=False)
    if not (directory / "adapter_model.bin").exists():  # newer PEFT saves no pickles at all
        import torch
        from safetensors.torch import load_file

        weights = directory / "adapter_model.safetensors"
        torch.save(load_file(weights), directory / "adapter_model.bin")
        weights.unlink()
    with pytest.raises(Refused) as caught:
        read_run(directory)
    command = shlex.split(caught.value.hint.splitlines()[1])
    subprocess.run([sys.executable, *command[1:]], check=True)
    assert len(read_run(directory).modules) == 9
