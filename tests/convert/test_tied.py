"""A base whose output head is its embedding: a pair on it either means what it meant in training, or is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ggship.convert import convert_adapter
from ggship.convert.tied import servable
from ggship.errors import NotExpressible

PREFIX = "base_model.model."


@pytest.fixture
def embedding(tensors):
    tensors[f"{PREFIX}model.embed_tokens.lora_embedding_A"] = np.ones((4, 96), np.float32)
    tensors[f"{PREFIX}model.embed_tokens.lora_embedding_B"] = np.ones((32, 4), np.float32)
    return tensors


@pytest.mark.parametrize("merging", [True, False])
@pytest.mark.parametrize("converter", ["native", "llamacpp"])
def test_the_embedding_alone_is_refused_since_the_head_would_change_too(
    make_run, make_base, embedding, tmp_path, merging, converter
):
    base = make_base(tensors=True)
    with pytest.raises(NotExpressible, match="tied") as refused:
        convert_adapter(make_run(embedding), tmp_path / "a.gguf", base=base, merging=merging, converter=converter)
    assert refused.value.where == "model.embed_tokens"
    assert "ensure_weight_tying" in refused.value.hint
    assert not list(tmp_path.glob("a.gguf*"))


def test_trained_in_both_places_it_may_be_merged_but_not_served(make_run, make_base, embedding, tmp_path):
    base, run = make_base(tensors=True), make_run(embedding, ensure_weight_tying=True)
    assert convert_adapter(run, tmp_path / "a.gguf", base=base, merging=True).pairs == 15
    assert not servable(run, base)
    with pytest.raises(NotExpressible, match="cannot serve") as refused:
        convert_adapter(run, tmp_path / "b.gguf", base=base)
    assert "merge" in refused.value.hint


def test_an_embedding_of_its_own_is_an_embedding_like_any_other(make_run, make_base, embedding, tmp_path):
    base = make_base()  # nothing says that it is tied
    assert servable(make_run(embedding), base)
    assert convert_adapter(make_run(embedding), tmp_path / "a.gguf", base=base).pairs == 15


def test_without_its_tensors_the_config_says_whether_it_is_tied(make_run, make_base, embedding, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"tie_word_embeddings": true}')
    with pytest.raises(NotExpressible, match="tied"):
        convert_adapter(make_run(embedding), tmp_path / "a.gguf", base=make_base(config_dir=tmp_path / "base"))


def test_plain_pairs_on_a_tied_base_are_served(make_run, make_base):
    assert servable(make_run(), make_base(tensors=True))
