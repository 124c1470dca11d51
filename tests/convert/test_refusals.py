"""What neither converter can carry is refused before anything is written, with the reason and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from ggship.convert import convert_adapter
from ggship.errors import NotExpressible


@pytest.mark.parametrize("converter", ["native", "llamacpp"])
@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"lora_bias": True}, "bias"),
        ({"trainable_token_indices": {"embed_tokens": [1, 2]}}, "token"),
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "replicat"),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "experts"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"init_lora_weights": "corda"}, "corda"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"init_lora_weights": "lora_ga"}, "lora_ga"),
        ({"use_qalora": True}, "use_qalora"),
        ({"lora_alpha": 0}, "lora_alpha is 0"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS"),
    ],
)
def test_it_is_refused(config, reason, converter, make_run, make_base, tmp_path):
    with pytest.raises(NotExpressible) as error:
        convert_adapter(make_run(**config), tmp_path / "a.gguf", base=make_base(), converter=converter)
    assert reason.lower() in error.value.where.lower()
    assert error.value.exit_code == 4
    assert not list(tmp_path.glob("a.gguf*"))


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.lm_head.weight",
        "base_model.model.model.embed_tokens.weight",
        "base_model.model.model.norm.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
    ],
)
def test_a_tensor_that_is_no_pair_is_refused_whatever_the_config_says(name, make_run, make_base, tensors, tmp_path):
    tensors[name] = np.ones(32, np.float32)
    with pytest.raises(NotExpressible) as error:
        convert_adapter(make_run(tensors), tmp_path / "a.gguf", base=make_base())
    assert name in error.value.where


def test_every_reason_is_named_at_once(make_run, make_base, tmp_path):
    with pytest.raises(NotExpressible) as error:
        convert_adapter(make_run(use_dora=True, lora_alpha=0), tmp_path / "a.gguf", base=make_base())
    assert "DoRA" in error.value.where
    assert "lora_alpha" in error.value.where
    assert "save the adapter again" in error.value.hint


@pytest.mark.parametrize("init", [True, False, "gaussian", "eva", "orthogonal"])
def test_initialisations_that_leave_the_base_alone_are_fine(init, make_run, make_base, tmp_path):
    convert_adapter(make_run(init_lora_weights=init), tmp_path / "a.gguf", base=make_base())
