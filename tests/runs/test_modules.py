"""Ranks, alphas and scales are the true ones; what is no plain pair is named."""

from __future__ import annotations

import math

import pytest

from ggship.errors import BadFile
from ggship.runs import obstacles, read_run
from ggship.runs.findings import findings

Q = "base_model.model.model.layers.0.self_attn.q_proj"


def pair(stem=Q, rank=8, out=16, inner=16, dtype="F32"):
    return {f"{stem}.lora_A.weight": (dtype, (rank, inner)), f"{stem}.lora_B.weight": (dtype, (out, rank))}


def test_plain_lora(run_maker):
    run = read_run(run_maker.adapter())
    assert [module.name for module in run.modules] == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.v_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.self_attn.v_proj",
    ]
    assert {(module.rank, module.alpha, module.scale) for module in run.modules} == {(8, 16.0, 2.0)}
    assert run.modules[1].base_shape == (8, 16)
    assert run.parameters == 2 * (8 * 16 + 16 * 8) + 2 * (8 * 16 + 8 * 8)
    assert run.unexpressed == ()
    assert obstacles(run) == ()
    assert run.base_named == "org/tiny"


def test_rslora_divides_by_the_root_of_the_rank(run_maker):
    run = read_run(run_maker.adapter(use_rslora=True))
    assert run.modules[0].scale == pytest.approx(16 / math.sqrt(8))


def test_layers_are_in_the_order_of_numbers(run_maker, tiny_tensors):
    run = read_run(run_maker.adapter(tensors=dict(reversed(tiny_tensors(layers=11).items()))))
    assert [module.name.split(".")[2] for module in run.modules][-4:] == ["9", "9", "10", "10"]


def test_patterns_match_as_in_peft(run_maker, tiny_tensors):
    """`q_proj` is the end of a name, `layers.1.*` a regular expression; the first that matches counts."""
    patterns = {"layers.1.self_attn.q_proj": 64, "q_proj": 4, r"model\.layers\.\d\.self_attn\.v_": 99}
    run = read_run(run_maker.adapter(alpha_pattern=patterns))
    alphas = {module.name: module.alpha for module in run.modules}
    assert alphas == {
        "model.layers.0.self_attn.q_proj": 4,
        "model.layers.0.self_attn.v_proj": 16,  # the pattern must reach the end of the name
        "model.layers.1.self_attn.q_proj": 64,
        "model.layers.1.self_attn.v_proj": 16,
    }
    assert run.modules[0].scale == 0.5


def test_rank_of_the_tensors_counts_and_a_difference_stays_visible(run_maker):
    run = read_run(run_maker.adapter(r=16, rank_pattern={"v_proj": 8}))
    q, v = run.modules[:2]
    assert (q.rank, q.rank_named, q.scale) == (8, 16, 2.0)
    assert (v.rank, v.rank_named) == (8, 8)
    (seen,) = [finding.evidence for finding in findings(run) if finding.code == "GS103"]
    assert "r 16" in seen
    assert "r 8" in seen
    assert "1 more" in seen


def test_raw_state_dicts_keep_the_adapters_name(run_maker):
    tensors = {f"{Q}.lora_A.default.weight": ("F16", (4, 16)), f"{Q}.lora_B.default.weight": ("F16", (16, 4))}
    (module,) = read_run(run_maker.adapter(tensors=tensors)).modules
    assert module.name == "model.layers.0.self_attn.q_proj"
    assert module.rank == 4


def test_embeddings_are_pairs_and_their_frozen_copy_is_ignored(run_maker):
    stem = "base_model.model.model.embed_tokens"
    tensors = {
        f"{stem}.lora_embedding_A": ("F32", (8, 100)),
        f"{stem}.lora_embedding_B": ("F32", (16, 8)),
        f"{stem}.base_layer.weight": ("F32", (100, 16)),
        **pair(),
    }
    run = read_run(run_maker.adapter(tensors=tensors))
    module = next(module for module in run.modules if module.name == "model.embed_tokens")
    assert module.embedding
    assert module.base_shape == (100, 16)
    assert run.unexpressed == ()


@pytest.mark.parametrize(
    ("name", "shape", "config", "method", "code"),
    [
        (f"{Q}.lora_magnitude_vector", (16,), {"use_dora": True}, "dora", "dora"),
        (f"{Q}.lora_magnitude_vector.default.weight", (16,), {"use_dora": True}, "dora", "dora"),
        (f"{Q}.lora_B.bias", (16,), {"lora_bias": True}, "bias", "bias"),
        (f"{Q}.base_layer.bias", (16,), {"bias": "all"}, "saved", "bias"),
        ("base_model.model.lm_head.weight", (100, 16), {}, "saved", "saved-modules"),
        ("base_model.model.lm_head.modules_to_save.default.weight", (100, 16), {}, "saved", "saved-modules"),
        (
            "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
            (3, 16),
            {"trainable_token_indices": [7, 5, 9]},
            "tokens",
            "trained-tokens",
        ),
    ],
)
def test_tensors_that_are_no_pair_are_named(name, shape, config, method, code, run_maker):
    run = read_run(run_maker.adapter(tensors={**pair(), name: ("F32", shape)}, **config))
    assert run.unexpressed == ()
    assert len(run.modules) == 1
    (module,) = run.trained
    assert module.method == method
    assert [part.name for part in module.parts.values()] == [name]
    (obstacle,) = obstacles(run)
    assert (obstacle.code, obstacle.way) == (code, "merge")
    assert name in obstacle.what


@pytest.mark.parametrize(
    ("name", "config"),
    [
        (f"{Q}.lora_magnitude_vector", {}),  # PEFT would not use it
        ("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", {}),  # of which tokens?
        ("base_model.model.model.embed_tokens.something_new", {}),
    ],
)
def test_tensors_that_the_config_does_not_explain_are_refused(name, config, run_maker):
    run = read_run(run_maker.adapter(tensors={**pair(), name: ("F32", (16,))}, **config))
    (obstacle,) = obstacles(run)
    assert obstacle.way != "merge"


def test_a_frozen_copy_is_no_obstacle(run_maker):
    name = "base_model.model.model.embed_tokens.base_layer.weight"
    run = read_run(run_maker.adapter(tensors={**pair(), name: ("F32", (100, 16))}))
    assert [(module.name, module.method, module.parameters) for module in run.trained] == [
        ("model.embed_tokens", "frozen", 0)
    ]
    assert obstacles(run) == ()


def test_pairs_that_are_no_matrices_of_numbers_are_not_expressed(run_maker):
    conv = {
        "base_model.model.conv.lora_A.weight": ("F32", (8, 3, 3, 3)),
        "base_model.model.conv.lora_B.weight": ("F32", (16, 8, 1, 1)),
    }
    int8 = pair("base_model.model.x", dtype="I8")
    run = read_run(run_maker.adapter(tensors={**pair(), **conv, **int8}))
    assert len(run.modules) == 1
    assert set(run.unexpressed) == {*conv, *int8}


def test_stacked_experts_are_not_taken_for_a_module(run_maker):
    tensors = {**pair(), **pair("base_model.model.model.layers.0.mlp.experts", rank=32)}
    run = read_run(run_maker.adapter(tensors=tensors, target_parameters=["mlp.experts.gate_up_proj"]))
    assert [module.name for module in run.modules] == [
        "model.layers.0.mlp.experts".replace("mlp.experts", "self_attn.q_proj")
    ]
    (experts,) = run.trained
    assert (experts.name, experts.method, experts.rank) == ("model.layers.0.mlp.experts.gate_up_proj", "experts", 8)
    assert [(obstacle.code, obstacle.way) for obstacle in obstacles(run)] == [("parameters", "merge")]


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"use_dora": True}, "dora"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed-base"),
        ({"init_lora_weights": "olora"}, "changed-base"),
        ({"modules_to_save": ["lm_head"]}, "saved-modules"),
        ({"lora_bias": True}, "bias"),
        ({"fan_in_fan_out": True}, "transposed"),
        ({"layer_replication": [[0, 2]]}, "replicated-layers"),
        ({"trainable_token_indices": [1]}, "trained-tokens"),
        ({"use_qalora": True}, "variant"),
        ({"task_type": "SEQ_CLS"}, "task"),
        ({"peft_type": "LOHA"}, "not-lora"),
    ],
)
def test_config_that_no_adapter_can_carry(config, code, run_maker):
    assert [obstacle.code for obstacle in obstacles(read_run(run_maker.adapter(**config)))] == [code]


@pytest.mark.parametrize(
    "config",
    [
        {"init_lora_weights": True},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "eva"},
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 3}},
        {"bias": "none"},
        {"bias": "lora_only"},  # the base may have no biases at all
        {"modules_to_save": None, "layer_replication": None, "trainable_token_indices": None},
        {"lora_alpha": 16.5},
        {"r": 8, "lora_dropout": 0.1, "something_new": {"x": 1}},
    ],
)
def test_config_that_is_no_obstacle(config, run_maker):
    assert obstacles(read_run(run_maker.adapter(**config))) == ()


def test_another_peft_method_gives_no_pairs_even_where_names_look_alike(run_maker):
    run = read_run(run_maker.adapter(peft_type="ADALORA"))
    assert run.modules == ()
    assert len(run.unexpressed) == 8


@pytest.mark.parametrize("half", ["A", "B"])
def test_half_a_pair_is_named(half, run_maker):
    tensors = pair()
    del tensors[f"{Q}.lora_{half}.weight"]
    with pytest.raises(BadFile) as caught:
        read_run(run_maker.adapter(tensors=tensors))
    assert f"no lora_{half}" in caught.value.message
    assert "model.layers.0.self_attn.q_proj" in caught.value.message
    assert "adapter_model.safetensors" in caught.value.where


def test_halves_of_different_rank_are_named(run_maker):
    tensors = {f"{Q}.lora_A.weight": ("F32", (8, 16)), f"{Q}.lora_B.weight": ("F32", (16, 4))}
    with pytest.raises(BadFile, match="rank 8 and 4"):
        read_run(run_maker.adapter(tensors=tensors))


def test_two_adapters_in_one_file_are_refused(run_maker):
    tensors = {f"{Q}.lora_{half}.{name}.weight": ("F32", (8, 8)) for half in "AB" for name in ("default", "second")}
    with pytest.raises(BadFile, match="more than one adapter"):
        read_run(run_maker.adapter(tensors=tensors))


@pytest.mark.parametrize("tensors", [{}, {f"{Q}.lora_A.weight": ("F32", (0,)), f"{Q}.lora_B.weight": ("F32", (0,))}])
def test_ungathered_shards_are_explained(tensors, run_maker):
    with pytest.raises(BadFile) as caught:
        read_run(run_maker.adapter(tensors=tensors))
    assert "gather" in caught.value.hint


LOHA = {
    f"{Q}.hada_w1_a": ("F32", (16, 4)),
    f"{Q}.hada_w1_b": ("F32", (4, 16)),
    f"{Q}.hada_w2_a": ("F32", (16, 4)),
    f"{Q}.hada_w2_b": ("F32", (4, 16)),
}
METHODS = {
    "LOHA": (LOHA, {"alpha": 8, "r": 4}, "loha", (16, 16), 2.0),
    "LOKR": (
        {
            f"{Q}.lokr_w1": ("F32", (4, 2)),
            f"{Q}.lokr_w2_a": ("F32", (4, 3)),
            f"{Q}.lokr_w2_b": ("F32", (3, 8)),
        },
        {"alpha": 6, "r": 3},
        "lokr",
        (16, 16),
        2.0,
    ),
    "IA3": ({f"{Q}.ia3_l": ("F32", (16, 1))}, {}, "ia3", (16, 0), 1.0),
    "VERA": (
        {
            f"{Q}.vera_lambda_b": ("F32", (16,)),
            f"{Q}.vera_lambda_d": ("F32", (4,)),
            "base_model.vera_A": ("F32", (4, 16)),
            "base_model.vera_B": ("F32", (16, 4)),
        },
        {},
        "vera",
        (16, 0),
        1.0,
    ),
    "OFT": ({f"{Q}.oft_R.weight": ("F32", (4, 6))}, {"r": 0}, "oft", (), 1.0),
    "ADALORA": (
        {f"{Q}.lora_A": ("F32", (3, 16)), f"{Q}.lora_B": ("F32", (16, 3)), f"{Q}.lora_E": ("F32", (3, 1))},
        {"lora_alpha": 6, "rank_pattern": {f"{Q}.lora_E": [True, False, True, True]}},
        "adalora",
        (16, 16),
        6 / (3 + 1e-5),
    ),
    "LN_TUNING": (
        {"base_model.model.model.norm.ln_tuning_layers.weight": ("F32", (16,))},
        {},
        "saved",
        (16,),
        1.0,
    ),
    "TRAINABLE_TOKENS": (
        {"base_model.model.model.embed_tokens.trainable_tokens_delta": ("F32", (2, 16))},
        {"token_indices": [7, 3]},
        "tokens",
        (0, 16),
        1.0,
    ),
}


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_is_read(kind, run_maker):
    tensors, config, method, shape, scale = METHODS[kind]
    run = read_run(run_maker.adapter(tensors=tensors, peft_type=kind, **config))
    (module,) = run.trained
    assert (module.method, module.base_shape, module.scale) == (method, shape, scale)
    assert run.modules == run.unexpressed == ()
    assert {obstacle.way for obstacle in obstacles(run)} == {"merge"}


@pytest.mark.parametrize("kind", ["LOHA", "LOKR", "IA3", "OFT", "ADALORA"])
def test_a_part_of_another_number_of_dimensions_is_not_understood(kind, run_maker):
    tensors, config, *_ = METHODS[kind]
    name = next(iter(tensors))
    run = read_run(run_maker.adapter(tensors={**tensors, name: ("F32", (4, 4, 3))}, peft_type=kind, **config))
    assert name in run.unexpressed
    assert run.trained == ()


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("LOHA", f"{Q}.hada_w1_b", (5, 16)),
        ("LOHA", f"{Q}.hada_w2_a", (15, 4)),
        ("LOKR", f"{Q}.lokr_w2_b", (4, 8)),
        ("IA3", f"{Q}.ia3_l", (16, 2)),
        ("ADALORA", f"{Q}.lora_E", (4, 1)),
    ],
)
def test_parts_that_do_not_belong_together_are_damage(kind, name, shape, run_maker):
    tensors, config, *_ = METHODS[kind]
    with pytest.raises(BadFile, match="do not belong together"):
        read_run(run_maker.adapter(tensors={**tensors, name: ("F32", shape)}, peft_type=kind, **config))


def test_adalora_may_have_pruned_a_module_away(run_maker):
    tensors = {f"{Q}.lora_A": ("F32", (0, 16)), f"{Q}.lora_B": ("F32", (16, 0)), f"{Q}.lora_E": ("F32", (0, 1))}
    (module,) = read_run(run_maker.adapter(tensors=tensors, peft_type="ADALORA")).trained
    assert module.parameters == 0


def test_nested_experts_are_named_by_the_parameters_that_the_config_names(run_maker):
    stem = "base_model.model.model.layers.0.mlp.experts"
    tensors = {
        **pair(f"{stem}.base_layer", rank=32, out=48, inner=16),  # gate_up_proj is wrapped first
        **pair(stem, rank=32, out=16, inner=24),
    }
    names = ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"]
    run = read_run(run_maker.adapter(tensors=tensors, target_parameters=names))
    found = {module.name.rpartition(".")[2]: (module.base_shape, module.rank) for module in run.trained}
    assert found == {"gate_up_proj": ((48, 16), 8), "down_proj": ((16, 24), 8)}


@pytest.mark.parametrize("beside", [True, False])
def test_a_value_head_is_refused(beside, run_maker):
    """LLaMA-Factory leaves it as a file beside the adapter, for reward models and for PPO's policies."""
    name = "v_head.summary.weight"
    path = run_maker.adapter(tensors=pair() if beside else {**pair(), name: ("F32", (1, 16))})
    if beside:
        run_maker.write("value_head.safetensors", "")
    first = obstacles(read_run(path))[0]
    assert (first.code, first.way) == ("task", "")
    assert "PPO" in first.remedy if beside else name in first.what
