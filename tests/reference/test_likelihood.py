"""How probable a model finds an answer: the same in llama.cpp as in Transformers, token by token."""

from __future__ import annotations

import json
import math

import pytest

from ggship.reference.unpackaged import open_run
from ggship.releases import load_package
from ggship.releases.opened import open_package
from ggship.runtimes.model import Message

pytestmark = pytest.mark.hf

# In Chinese and emoji, each token of this model is a part of a character.
ANSWERS = ("Seventy years.", "买卖不破租赁", "Yes 🙂, in writing", " ")
PER_TOKEN = 0.003
"""Nats: the package is F16 and computes in other orders of summing; the reference is in 32-bit floats."""


def test_llama_cpp_finds_an_answer_as_probable_as_what_was_trained(shop, capsys) -> None:
    assert shop.make() == 0
    asked = [Message(role="user", content="How long does copyright last?")]
    with (
        open_run(f"hf:{shop.run}", base=str(shop.base)) as run,
        open_package(load_package(str(shop.package)), with_base=False) as served,
    ):
        found = {
            side: [side.score(asked, answer) for answer in ANSWERS] for side in (served.tuned, run.tuned, run.base)
        }
        for answer, packaged, trained, bare in zip(ANSWERS, *found.values(), strict=True):
            assert trained.tokens == packaged.tokens == len(answer.encode())
            assert packaged.log_likelihood == pytest.approx(trained.log_likelihood, abs=PER_TOKEN * trained.tokens)
            assert abs(bare.log_likelihood - trained.log_likelihood) > 10 * PER_TOKEN * trained.tokens


SUITE = """
version: 1
smoke: {answers: 1, differs: 1, no-leaks: 1, no-loops: 1, stops: 1}
gates: ["perplexity <= 1e9", "delta_log_likelihood >= -99", "perplexity_ratio > 0"]
defaults: {options: {num_predict: 2}}
tests:
- {id: long, prompt: How long does copyright last?, assert: [{type: rouge-l, value: Seventy years., threshold: 0}]}
- {id: zh, prompt: 买卖, assert: [{type: rouge-l, value: 买卖不破租赁, threshold: 0}]}
"""


def test_gates_can_speak_of_likelihood_and_packages_compare_with_runs(shop, capsys) -> None:
    assert shop.make() == 0
    (shop.root / "likely.yaml").write_text(SUITE.replace("1e9", "1000000000"))
    capsys.readouterr()
    code = shop.ggship(
        "compare", "law", f"hf:{shop.run}", "--base", shop.base, "--suite", shop.root / "likely.yaml", "--json"
    )
    told = capsys.readouterr()
    assert code == 0, told.err
    packaged, trained = (model["score"]["likelihood"] for model in json.loads(told.out)["models"])
    assert (packaged["cases"], packaged["tokens"]) == (trained["cases"], trained["tokens"]) == (2, 32)
    assert packaged["log_likelihood"] == pytest.approx(trained["log_likelihood"], abs=PER_TOKEN)
    assert packaged["perplexity"] == pytest.approx(math.exp(-packaged["log_likelihood"]))
    assert packaged["bits_per_byte"] == pytest.approx(-packaged["log_likelihood"] / math.log(2))
