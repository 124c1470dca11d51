"""An adapter that does not fit its base is refused before any work, with the differences."""

from __future__ import annotations

import pytest

from ggship.bases import check_fit, find_base
from ggship.errors import BaseMismatch


@pytest.fixture
def kinds(workshop, shelf):
    """The same base in each form that shapes can be read from."""

    def make(tiny):
        file = workshop.gguf("a/tiny.gguf", tiny)
        shelf.add("tiny", file, workshop.root / "blobs")
        shelf.local = False
        shelf.modern = True
        bases = {
            "gguf": find_base(None, str(file)),
            "directory": find_base(None, str(workshop.directory("with", tiny))),
            "config": find_base(None, str(workshop.directory("without", tiny, weights=False))),
            "ollama": find_base(None, "ollama:tiny", ollama=shelf),
        }
        shelf.models.clear()
        return bases

    return make


KINDS = ["gguf", "directory", "config", "ollama"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_base(kind, kinds, workshop, tiny):
    run = workshop.run(modules=tuple(tiny().weights()))
    fit = check_fit(run, kinds(tiny())[kind])
    assert len(fit.targets) == len(run.modules) == 15
    assert fit.targets["model.layers.1.mlp.down_proj"] == "blk.1.ffn_down.weight"
    assert fit.targets["model.embed_tokens"] == "token_embd.weight"
    assert fit.exact == (kind != "config")
    assert fit.unknown == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", [{"width": 32}, {"inner": 48}, {"kv_heads": 4}, {"layers": 3}, {"layers": 1}])
def test_another_base(kind, other, kinds, workshop, tiny):
    with pytest.raises(BaseMismatch) as caught:
        check_fit(workshop.run(), kinds(tiny(**other))[kind])
    assert "training named org/Tiny-1B-Instruct" in caught.value.hint
    assert caught.value.exit_code == 4


def test_the_first_differences_and_how_many_more(kinds, workshop, tiny):
    with pytest.raises(BaseMismatch) as caught:
        check_fit(workshop.run(), kinds(tiny(width=32))["gguf"])
    where = caught.value.where
    assert "model.layers.0.mlp.down_proj: adapter 16 x 24, base 32 x 24" in where
    assert where.count("adapter") == 3
    assert "and 11 more of 14 modules" in where


def test_another_architecture(kinds, workshop, tiny):
    with pytest.raises(BaseMismatch) as caught:
        check_fit(workshop.run(), find_base(None, str(workshop.gguf("x/g.gguf", tiny(), arch="gpt2"))))
    assert "no such weight in the base" in caught.value.where or "base" in caught.value.where
    assert "(gpt2)" in caught.value.where


@pytest.mark.parametrize(
    "config",
    [
        {"layers_to_transform": [0, 1]},
        {"target_modules": r".*\.layers\.[01]\..*proj"},
        {"target_modules": ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"]},
    ],
)
def test_an_adapter_on_some_blocks_by_intent_fits_a_deeper_base(config, kinds, workshop, tiny):
    assert check_fit(workshop.run(**config), kinds(tiny(layers=4))["gguf"])


def test_blocks_of_multi_token_prediction_are_not_counted(workshop, tiny):
    file = workshop.gguf(tiny=tiny(), arch="glm4", glm4__block_count=3, glm4__nextn_predict_layers=1)
    run = workshop.run(modules=("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"))
    assert check_fit(run, find_base(None, str(file)))


def test_a_head_on_tied_weights_is_left_for_the_converter_to_judge(workshop):
    run = workshop.run(modules=("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "lm_head"))
    assert check_fit(run, find_base(None, str(workshop.gguf()))).targets["lm_head"] == "output.weight"


def test_a_larger_vocabulary_does_not_fit(workshop, tiny):
    run = workshop.run(tiny=tiny(vocabulary=44), modules=("model.embed_tokens",))
    with pytest.raises(BaseMismatch, match="another base") as caught:
        check_fit(run, find_base(None, str(workshop.gguf())))
    assert "adapter 44 x 16, base 40 x 16" in caught.value.where


@pytest.mark.parametrize(
    ("config", "tensor", "shape"),
    [
        ({"model_type": "phi3"}, "blk.0.ffn_up.weight", (48, 16)),
        ({"model_type": "phi3"}, "blk.0.attn_qkv.weight", (32, 16)),
        ({"model_type": "qwen3"}, "blk.0.attn_q.weight", (512, 16)),
        ({"model_type": "qwen3", "head_dim": 4}, "blk.0.attn_q.weight", (16, 16)),
        ({"model_type": "gemma2"}, "blk.0.attn_output.weight", (16, 1024)),
        ({"model_type": "mistral", "num_key_value_heads": None}, "blk.0.attn_k.weight", (32, 16)),
        ({"model_type": "chatglm", "kv_channels": 4, "multi_query_group_num": 1, "num_key_value_heads": None,
          "multi_query_attention": True}, "blk.0.attn_qkv.weight", (24, 16)),
        ({"model_type": "deepseek_v2"}, "blk.0.attn_q.weight", None),
    ],
)  # fmt: skip
def test_shapes_by_config_alone(config, tensor, shape, workshop):
    from ggship.bases.dimensions import from_metadata

    base = find_base(None, str(workshop.directory("x", weights=False, **config)))
    assert from_metadata(base.architecture, base.metadata).shape(tensor) == shape


@pytest.mark.parametrize("name", ["max_position_embeddings", "n_positions", "seq_length"])
def test_a_directory_says_how_long_its_context_is(name, workshop):
    base = find_base(None, str(workshop.directory("model", **{name: 512})))
    assert base.metadata["llama.context_length"] == 512
