"""A prompt is compared by tokens too: what is equal as text may be cut otherwise, or begin twice."""

from __future__ import annotations

import json

import pytest

from ggship.prompts import family
from ggship.prompts.tokenparity import TOKEN_PROBES, TrainingTokens, prove_tokens
from ggship.prompts.vocabulary import training_tokens
from ggship.runtimes.model import PromptTokens

LLAMA = family("llama3")
ADDED = {"<|begin_of_text|>": 1, "<|start_header_id|>": 2, "<|end_header_id|>": 3, "<|eot_id|>": 4}


def cut(text, added=ADDED):
    """A tokenizer: added tokens whole, everything else by its characters."""
    ids = []
    while text:
        name = next((name for name in added if text.startswith(name)), text[0])
        ids.append(added.get(name, 1000 + ord(text[0])))
        text = text[len(name) :]
    return ids


TRAINED = TrainingTokens(ADDED, cut)


class Server:
    """Renders as training does; adds BOS; may add one too many, or split a token."""

    def __init__(self, *, twice=False, split=None, ids=True):
        self.twice, self.ids = twice, ids
        self.added = {name: at for name, at in ADDED.items() if name != split}

    def __call__(self, messages, prompt):
        alone = cut(prompt, self.added)
        asked = 1 + len(cut(LLAMA.render(messages).removeprefix("<|begin_of_text|>"), self.added)) + self.twice
        return PromptTokens(asked, 1 + len(alone), (*alone, 1065) if self.ids else None)


@pytest.mark.parametrize(
    ("known", "ids", "by"),
    [(TRAINED, True, "ids"), (TrainingTokens(ADDED), True, "special tokens"), (TrainingTokens(), False, "number")],
)
def test_equal_tokens_hold_by_whatever_is_known_of_them(known, ids, by):
    proof = prove_tokens(LLAMA, Server(ids=ids), known, adds_bos=True)
    assert proof.holds
    assert (proof.probes, proof.equal, proof.by) == (len(TOKEN_PROBES), len(TOKEN_PROBES), by)


@pytest.mark.parametrize("known", [TRAINED, TrainingTokens()])
def test_a_bos_that_is_there_twice_is_a_difference(known):
    proof = prove_tokens(LLAMA, Server(twice=True), known, adds_bos=True)
    assert not proof.holds
    assert proof.equal == 0
    assert "a BOS that is there twice" in proof.differences[0]


@pytest.mark.parametrize(
    ("known", "words"), [(TRAINED, "training's tokenizer makes"), (TrainingTokens(ADDED), "is split")]
)
def test_a_special_token_in_pieces_is_a_difference(known, words):
    proof = prove_tokens(LLAMA, Server(split="<|eot_id|>"), known, adds_bos=True)
    assert not proof.holds
    assert words in proof.differences[0]


def test_an_id_that_is_another_is_named_with_its_place():
    def moved(messages, prompt):
        told = Server()(messages, prompt)
        return PromptTokens(told.asked, told.alone, tuple(9 if one == 4 else one for one in told.ids))

    assert "training has id 4, the server 9" in prove_tokens(LLAMA, moved, TRAINED, adds_bos=True).differences[0]


def test_a_server_that_cannot_count_proves_and_breaks_nothing():
    proof = prove_tokens(LLAMA, lambda messages, prompt: None, TRAINED, adds_bos=True)
    assert (proof.holds, proof.probes, proof.by) == (True, 0, "")


def test_the_tokenizer_of_training_is_the_runs_then_the_bases(make_run, make_base, tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": 7, "content": "<b>"}]}), "utf-8")
    base = make_base(config_dir=folder)
    run = make_run(tokenizer_config={"added_tokens_decoder": {"3": {"content": "<r>"}}})
    assert training_tokens(run, base).added == {"<r>": 3}
    (run.path / "tokenizer_config.json").unlink()
    assert training_tokens(run, base).added == {"<b>": 7}
