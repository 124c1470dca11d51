"""Module paths of every trainer and family, and the GGUF tensors they mean."""

from __future__ import annotations

import pytest

from ggship.convert.names import map_module


@pytest.mark.parametrize(
    ("architecture", "module", "tensor"),
    [
        ("llama", "model.layers.0.self_attn.q_proj", "blk.0.attn_q.weight"),
        ("llama", "model.layers.1.mlp.down_proj", "blk.1.ffn_down.weight"),
        ("llama", "layers.1.mlp.down_proj", "blk.1.ffn_down.weight"),
        ("llama", "model.embed_tokens", "token_embd.weight"),
        ("llama", "lm_head", "output.weight"),
        ("qwen2", "model.layers.1.self_attn.o_proj", "blk.1.attn_output.weight"),
        ("qwen3", "model.layers.0.mlp.gate_proj", "blk.0.ffn_gate.weight"),
        ("gemma2", "model.layers.0.mlp.up_proj", "blk.0.ffn_up.weight"),
        ("gemma3", "model.language_model.layers.0.self_attn.v_proj", "blk.0.attn_v.weight"),
        ("phi3", "model.layers.0.self_attn.qkv_proj", "blk.0.attn_qkv.weight"),
        ("phi3", "model.layers.0.mlp.gate_up_proj", "blk.0.ffn_up.weight"),
        ("chatglm", "transformer.encoder.layers.1.self_attention.query_key_value", "blk.1.attn_qkv.weight"),
        ("chatglm", "transformer.encoder.layers.1.mlp.dense_h_to_4h", "blk.1.ffn_up.weight"),
        ("chatglm", "transformer.output_layer", "output.weight"),
        ("glm4", "model.layers.0.mlp.gate_up_proj", "blk.0.ffn_up.weight"),
    ],
)
def test_a_module_has_its_tensor(architecture, module, tensor):
    assert map_module(architecture, 2, module) == tensor


@pytest.mark.parametrize(
    ("architecture", "module"),
    [
        ("llama", "model.layers.2.self_attn.q_proj"),
        ("llama", "model.layers.0.self_attn.made_up"),
        ("gemma3", "model.vision_tower.encoder.layers.0.self_attn.q_proj"),
        ("no-such-architecture", "model.layers.0.self_attn.q_proj"),
        ("llama", ""),
    ],
)
def test_what_has_no_tensor_is_none(architecture, module):
    assert map_module(architecture, 2, module) is None
