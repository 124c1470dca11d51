"""What no adapter can carry is packaged all the same: merged, proven, and told apart in the package's words."""

from __future__ import annotations

import json

import gguf
import numpy as np
import pytest
from jsonschema import validate
from safetensors.numpy import load_file, save_file

from ggship.errors import NotExpressible
from ggship.gguf.reader import read_gguf
from ggship.settings import templates_dir
from ggship.verify import verify_package

PREFIX = "base_model.model."
Q = f"{PREFIX}model.layers.0.self_attn.q_proj"


@pytest.fixture
def retrained(shop):
    """retrained(tensors, **config): the shop's run with other tensors added, or instead of its own."""

    def make(tensors, *, instead=False, shop=shop, **config):
        file, said = shop.run / "adapter_model.safetensors", shop.run / "adapter_config.json"
        own = {} if instead else load_file(file)
        save_file({**own, **tensors}, file, metadata={"format": "pt"})
        said.write_text(json.dumps({**json.loads(said.read_text()), **config}))
        return shop

    return make


def weights(shop, name):
    """A weight of the base: training starts from it, and does not go far."""
    (found,) = (tensor for tensor in gguf.GGUFReader(shop.base).tensors if tensor.name == name)
    return np.array(found.data, np.float32)


def dora(shop):
    """Magnitudes a little above those of the base, for every pair of the run."""
    places = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output"}
    places |= {"gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
    found = {}
    for name in load_file(shop.run / "adapter_model.safetensors"):
        stem, half, _ = name.partition(".lora_B")
        if half:
            block, kind = stem.split(".")[4], stem.rpartition(".")[2].removesuffix("_proj")
            rows = weights(shop, f"blk.{block}.{places[kind]}.weight")
            found[f"{stem}.lora_magnitude_vector"] = 1.05 * np.linalg.norm(rows, axis=1)
    return found


def test_dora_and_a_norm_are_merged_and_the_package_says_so(retrained, shop):
    retrained(
        {**dora(shop), f"{PREFIX}model.norm.weight": weights(shop, "output_norm.weight") + np.float32(0.1)},
        use_dora=True,
    )
    shipped = shop.package(evaluate=False)
    document = shipped.info.document
    assert shipped.plan.strategy == "merge"
    assert (document["plan"]["route"], document["adapter"]) == ("updates", None)
    assert "DoRA" in " ".join(document["plan"]["merged"])
    assert "model.norm" in " ".join(document["plan"]["merged"])
    assert document["merge"]["merged"] == document["merge"]["pairs"] == 15
    assert document["merge"]["by"] == "ggship"
    assert document["run"]["methods"] == ["dora", "lora", "saved"]
    assert document["run"]["files"][0]["file"] == "adapter_model.safetensors"
    assert not (shipped.info.path / "adapter.gguf").exists()
    assert "dora, lora, saved" in (shipped.info.path / "README.md").read_text()
    validate(document, json.loads((templates_dir() / "schemas/ggship.schema.json").read_text()))
    assert verify_package(shipped.info).laws
    assert shop.package(evaluate=False).ran == ()


def test_another_methods_run_is_merged_where_the_server_would_take_an_adapter(retrained, old_shop):
    retrained({f"{Q}.ia3_l": np.full((64, 1), 1.2, np.float32)}, instead=True, shop=old_shop, peft_type="IA3")
    shipped = old_shop.package(evaluate=False)
    assert shipped.plan.strategy == "merge"
    assert "IA3" in dict(shipped.plan.reasons)["strategy"]
    assert shipped.info.document["merge"]["merged"] == 1


def test_a_changed_run_is_merged_again(retrained, shop):
    retrained({f"{Q}.ia3_l": np.full((64, 1), 1.2, np.float32)}, instead=True, peft_type="IA3")
    first = shop.package(evaluate=False)
    retrained({f"{Q}.ia3_l": np.full((64, 1), 1.3, np.float32)}, instead=True, peft_type="IA3")
    second = shop.package(evaluate=False)
    assert "merge" in second.ran
    assert first.info.document["merge"]["sha256"] != second.info.document["merge"]["sha256"]


def test_an_adapter_of_it_is_refused_with_the_way_out(retrained, old_shop):
    retrained({f"{Q}.ia3_l": np.full((64, 1), 1.2, np.float32)}, instead=True, shop=old_shop, peft_type="IA3")
    with pytest.raises(NotExpressible, match="adapter cannot carry") as refused:
        old_shop.package(strategy="adapter")
    assert "merge" in refused.value.hint
    assert not (old_shop.root / "out").exists()


def test_dry_run_names_what_is_merged_and_how_large_the_parted_model_will_be(retrained, shop, tiny_base, capsys):
    tiny_base(shop.base, tied=True)
    embedding = weights(shop, "token_embd.weight") * np.float32(1.1)
    retrained({f"{PREFIX}model.embed_tokens.weight": embedding})
    out = shop.root / "law"
    assert shop.ggship("package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url,
                       "--out", out, "--dry-run", "--json") == 0  # fmt: skip
    plan = json.loads(capsys.readouterr().out)
    assert plan["route"] == "updates"
    assert "embed_tokens" in " ".join(plan["merged"])
    shipped = shop.package(out=out, evaluate=False)
    made = read_gguf(shipped.info.path / shipped.info.document["merge"]["file"])
    assert made.tensor("output.weight") is not None
    assert sum(tensor.nbytes for tensor in made.tensors) == plan["sizes"]["merged model"]


def test_merge_on_its_own(retrained, shop, capsys):
    retrained(dora(shop), use_dora=True)
    out = shop.root / "merged.gguf"
    assert shop.ggship("merge", shop.run, "--base", shop.base, "--out", out, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["route"], document["by"], document["merged"]) == ("updates", "ggship", 14)
    assert read_gguf(out).tensor("blk.0.attn_q.weight").type_name == "F16"


def test_a_base_that_does_not_fit_another_method_is_found_out(retrained, shop):
    from ggship.errors import BaseMismatch

    retrained({f"{Q}.ia3_l": np.full((65, 1), 1.2, np.float32)}, instead=True, peft_type="IA3")
    with pytest.raises(BaseMismatch):
        shop.package()
