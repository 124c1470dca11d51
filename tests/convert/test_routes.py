"""Which way a run gets into GGUF: what an adapter carries, what only a merge does, what nothing does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ggship.convert import convert_adapter
from ggship.convert.routes import route_of
from ggship.convert.sources import adapter_tensors
from ggship.convert.updates import tensor_updates
from ggship.errors import BaseMismatch, NotExpressible

PREFIX = "base_model.model."
Q = f"{PREFIX}model.layers.0.self_attn.q_proj"
EMBED = f"{PREFIX}model.embed_tokens"


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.fixture
def embedding(tensors):
    tensors[f"{EMBED}.lora_embedding_A"] = ones(4, 96)
    tensors[f"{EMBED}.lora_embedding_B"] = ones(32, 4)
    return tensors


@pytest.fixture
def head(tensors):
    tensors[f"{PREFIX}lm_head.lora_A.weight"] = ones(4, 32)
    tensors[f"{PREFIX}lm_head.lora_B.weight"] = ones(96, 4)
    return tensors


@pytest.fixture
def updates(make_run):
    """The names of the tensors that a merge of the run would change, and where new ones start from."""

    def names(run, base):
        with adapter_tensors() as source:
            return {update.name: update.source for update in tensor_updates(run, base, source)}

    return names


def test_plain_pairs_are_an_adapter(make_run, make_base):
    route = route_of(make_run(use_rslora=True), make_base(tensors=True))
    assert (route.kind, route.merged, route.own_head) == ("pairs", (), False)


@pytest.mark.parametrize(
    ("extra", "config", "words"),
    [
        ({f"{Q}.lora_magnitude_vector": ones(32)}, {"use_dora": True}, "DoRA"),
        ({f"{Q}.lora_B.bias": ones(32)}, {"lora_bias": True}, "bias"),
        ({f"{PREFIX}model.norm.weight": ones(32)}, {}, "model.norm"),
        (
            {f"{EMBED}.token_adapter.trainable_tokens_delta": ones(2, 32)},
            {"trainable_token_indices": [5, 9]},
            "single tokens",
        ),
    ],
)
def test_what_else_was_trained_is_merged(extra, config, words, make_run, make_base, tensors, tmp_path):
    names = [name for name in tensors if name.startswith(Q)]
    run = make_run({name: tensors[name] for name in names} | extra, **config)
    route = route_of(run, make_base(tensors=True))
    assert route.kind == "updates"
    assert words in "\n".join(route.merged)
    with pytest.raises(NotExpressible, match="adapter cannot carry") as refused:
        convert_adapter(run, tmp_path / "a.gguf", base=make_base())
    assert words in refused.value.where
    assert "ggship merge" in refused.value.hint
    assert refused.value.code
    assert not list(tmp_path.glob("a.gguf*"))


@pytest.mark.parametrize("kind", ["LOHA", "IA3", "OFT"])
def test_other_methods_are_merged(kind, make_run, make_base):
    tensors = {
        "LOHA": {
            f"{Q}.{part}": ones(*shape)
            for part, shape in (
                ("hada_w1_a", (32, 4)),
                ("hada_w1_b", (4, 32)),
                ("hada_w2_a", (32, 4)),
                ("hada_w2_b", (4, 32)),
            )
        },
        "IA3": {f"{Q}.ia3_l": ones(32, 1)},
        "OFT": {f"{Q}.oft_R.weight": ones(4, 28)},
    }[kind]
    run = make_run(tensors, peft_type=kind, alpha=8)
    assert run.parameters == sum(tensor.size for tensor in tensors.values())
    assert route_of(run, make_base(tensors=True)).kind == "updates"


def test_a_base_whose_layout_is_not_known_is_pefts(make_run, make_base):
    run = make_run({f"{Q}.ia3_l": ones(32, 1)}, peft_type="IA3")
    route = route_of(run, make_base("starcoder2"))
    assert route.kind == "peft"
    assert "starcoder2" in route.reason


def test_a_method_that_only_peft_knows_is_pefts(make_run, make_base):
    route = route_of(make_run({f"{Q}.hra_u": ones(32, 8)}, peft_type="HRA"), make_base(tensors=True))
    assert route.kind == "peft"
    assert "HRA" in route.reason


class TestTied:
    """A base whose output head is its embedding."""

    def test_trained_alone_it_gets_a_head_of_its_own(self, make_run, make_base, embedding, updates):
        base, run = make_base(tensors=True), make_run(embedding)
        route = route_of(run, base)
        assert (route.kind, route.own_head) == ("updates", True)
        assert updates(run, base)["output.weight"] == "token_embd.weight"

    def test_so_does_the_head_alone(self, make_run, make_base, head, updates):
        base, run = make_base(tensors=True), make_run(head)
        assert route_of(run, base).own_head
        found = updates(run, base)
        assert "token_embd.weight" not in found
        assert found["output.weight"] == "token_embd.weight"

    def test_trained_as_one_it_stays_one_but_cannot_be_served_beside_its_base(
        self, make_run, make_base, embedding, updates, tmp_path
    ):
        base, run = make_base(tensors=True), make_run(embedding, ensure_weight_tying=True)
        route = route_of(run, base)
        assert (route.kind, route.own_head) == ("updates", False)
        assert "output.weight" not in updates(run, base)
        with pytest.raises(NotExpressible):
            convert_adapter(run, tmp_path / "a.gguf", base=base)

    def test_both_pairs_of_one_update_are_one(self, make_run, make_base, embedding, head, updates):
        base = make_base(tensors=True)
        same = embedding | head  # all ones: the head's halves are the embedding's, turned
        assert "output.weight" not in updates(make_run(same, ensure_weight_tying=True), base)
        other = {**same, f"{PREFIX}lm_head.lora_B.weight": 2 * ones(96, 4)}
        assert "output.weight" in updates(make_run(other, ensure_weight_tying=True, name="other"), base)

    def test_tokens_change_in_both_places(self, make_run, make_base, tensors, updates):
        tensors[f"{EMBED}.token_adapter.trainable_tokens_delta"] = ones(2, 32)
        base, run = make_base(tensors=True), make_run(tensors, trainable_token_indices=[3, 8])
        assert not route_of(run, base).own_head
        assert "output.weight" not in updates(run, base)

    @pytest.mark.parametrize("which", ["embedding", "head"])
    def test_an_architecture_without_a_head_of_its_own_refuses(self, which, make_run, make_base, request):
        with pytest.raises(NotExpressible) as refused:
            route_of(make_run(request.getfixturevalue(which)), make_base("gemma2", tensors=True))
        assert refused.value.code == "tied"
        assert "ensure_weight_tying" in refused.value.hint

    def test_without_its_tensors_the_config_says_whether_it_is_tied(self, make_run, make_base, embedding, tmp_path):
        (tmp_path / "base").mkdir()
        (tmp_path / "base" / "config.json").write_text('{"tie_word_embeddings": true}')
        assert route_of(make_run(embedding), make_base(config_dir=tmp_path / "base")).own_head
        assert route_of(make_run(embedding), make_base()).kind == "pairs"  # nothing says that it is tied


def test_an_activated_lora_is_refused_since_llama_cpp_switches_it_on_too_early(make_run, make_base, tensors):
    with pytest.raises(NotExpressible, match="one token before") as refused:
        route_of(make_run(tensors, alora_invocation_tokens=[5, 6]), make_base(tensors=True))
    assert refused.value.code == "alora"


class TestRefusedWhileMerging:
    """What only the base's tensors tell."""

    def test_a_bias_that_llama_cpp_does_not_read(self, make_run, make_base, tensors, updates):
        run = make_run({**tensors, f"{PREFIX}model.layers.0.mlp.up_proj.lora_B.bias": ones(48)}, lora_bias=True)
        assert updates(run, make_base(tensors=True))["blk.0.ffn_up.bias"] == ""
        with pytest.raises(NotExpressible, match="no such bias") as refused:
            updates(run, make_base("qwen2", tensors=True))
        assert refused.value.code == "bias"

    @pytest.mark.parametrize(
        ("name", "shape"),
        [(f"{PREFIX}model.embed_tokens.weight", (98, 32)), (f"{EMBED}.base_layer.weight", (98, 32))],
    )
    def test_a_grown_vocabulary(self, name, shape, make_run, make_base, tensors, updates):
        with pytest.raises(BaseMismatch):
            updates(make_run({**tensors, name: ones(*shape)}), make_base(tensors=True))

    def test_tokens_beyond_the_vocabulary(self, make_run, make_base, tensors, updates):
        tensors[f"{EMBED}.token_adapter.trainable_tokens_delta"] = ones(2, 32)
        with pytest.raises(BaseMismatch, match="tokens that the base does not have"):
            updates(make_run(tensors, trainable_token_indices=[3, 96]), make_base(tensors=True))

    def test_two_parts_on_one_tensor(self, make_run, make_base, tensors, updates):
        with pytest.raises(NotExpressible) as refused:
            updates(make_run({**tensors, f"{Q}.weight": ones(32, 32)}), make_base(tensors=True))
        assert refused.value.code == "two-changes"

    @pytest.mark.parametrize("experts", [3, 5])
    def test_another_number_of_experts(self, experts, make_run, make_base, updates):
        from ggship.bases.model import BaseTensor

        stem = f"{PREFIX}model.layers.0.mlp.experts"
        tensors = {f"{stem}.lora_A.weight": ones(4 * experts, 48), f"{stem}.lora_B.weight": ones(32, 4 * experts)}
        run = make_run(tensors, target_parameters=["mlp.experts.down_proj"])
        base = make_base("qwen3moe", tensors=True)
        name = "blk.0.ffn_down_exps.weight"
        with pytest.raises(BaseMismatch):
            updates(run, replace(base, tensors={**base.tensors, name: BaseTensor(name, (4, 32, 48), "F16")}))
