"""How probable models find the right answers, where their servers can tell; and silence where they cannot."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ggship.errors import ServerError
from ggship.evals.gates import LIKELY, observe
from ggship.evals.likelihood import reference_of
from ggship.evals.once import Once
from ggship.runtimes.forced import force, same
from ggship.runtimes.model import Forced

TESTS = """
version: 1
gates: [perplexity <= 8, delta_log_likelihood > 0]
tests:
  - id: long
    prompt: q1
    assert: [{type: contains, value: a}, {type: rouge-l, value: four words are here, threshold: 0}]
  - id: set
    prompt: q2
    assert: [{type: assert-set, assert: [{type: chrf, value: two words, threshold: 0}]}]
  - {id: none, prompt: q3, assert: [{type: contains, value: a}]}
  - {id: negated, prompt: q4, assert: [{type: not-equals, value: a}]}
"""


def telling(model: Any, each: float, tokens: int | None = None) -> Any:
    """A model that finds every token as probable as exp(each); a token is a word unless told."""
    model.scored = []

    def score(messages: Any, answer: str) -> Forced:
        model.scored.append(answer)
        count = tokens or len(answer.split())
        return Forced(each * count, count)

    model.score = score
    return model


def test_every_right_answer_counts_by_its_tokens(run: Any, scripted: Any, suite: Any) -> None:
    tuned, base = telling(scripted(otherwise="a"), -2.0), telling(scripted(otherwise="b", label="base"), -3.0)
    report = run(suite(TESTS), tuned, base)
    assert tuned.scored == base.scored == ["four words are here", "two words"]
    found = report.tuned.likelihood
    assert (found.cases, found.tokens, found.log_likelihood) == (2, 6, -2.0)
    assert found.perplexity == pytest.approx(math.exp(2))
    assert found.bits_per_byte == pytest.approx(12 / math.log(2) / len("four words are heretwo words"))
    seen = observe(report)
    assert seen["delta_log_likelihood"] == 1.0
    assert seen["perplexity_ratio"] == pytest.approx(math.exp(-1))
    assert all(seen[name] is not None for name in LIKELY)
    assert report.passed


def test_with_other_tokens_only_bytes_compare(run: Any, scripted: Any, suite: Any) -> None:
    tuned, base = telling(scripted(otherwise="a"), -2.0), telling(scripted(label="base"), -3.0, tokens=50)
    report = run(suite(TESTS), tuned, base)
    seen = observe(report)
    assert (seen["delta_log_likelihood"], seen["perplexity_ratio"]) == (None, None)
    assert report.base.likelihood.bits_per_byte > report.tuned.likelihood.bits_per_byte
    assert "gate delta_log_likelihood > 0: nothing to observe" in report.verdict.reasons


def test_a_server_that_cannot_tell_proves_nothing(run: Any, scripted: Any, suite: Any) -> None:
    report = run(suite(TESTS), scripted(otherwise="a"), telling(scripted(label="base"), -3.0))
    assert report.tuned.likelihood is None
    assert not report.passed
    assert any("no likelihood of tuned: its server tells probabilities only" in text for text in report.warnings)


def test_a_comparison_of_several_says_of_which_it_is_not_known(ticking: Any, scripted: Any, suite: Any) -> None:
    from contextlib import nullcontext

    from ggship.evals.contest import Contender, Entered, hold_contest
    from ggship.evals.contest_view import tables

    models = [telling(scripted(label="a"), -2.0), scripted(label="b"), telling(scripted(label="c"), -1.0)]
    base, *others = [Contender(model.label, lambda _, model=model: nullcontext(Entered(model))) for model in models]
    contest = hold_contest(suite(TESTS), base, others, clock=ticking()).contest
    assert [text for text in contest.warnings if "likelihood" in text] == [
        "no likelihood of b: its server tells probabilities only of what it says itself, so of a given answer they are "
        "not known"
    ]
    assert [row[1] for row in tables(contest)[2][1:]] == ["7.389", "–", "2.718"]


def test_one_answer_that_fails_leaves_no_figure_over_the_others(run: Any, scripted: Any, suite: Any) -> None:
    model = telling(scripted(otherwise="a"), -2.0)
    whole = model.score

    def score(messages: Any, answer: str) -> Forced:
        if answer == "two words":
            raise ServerError("it broke")
        return whole(messages, answer)

    model.score = score
    report = run(suite(TESTS), model, scripted(label="base"))
    assert report.tuned.likelihood is None
    assert "no likelihood of tuned: set: it broke" in report.warnings


def test_it_is_measured_only_where_it_is_wanted(run: Any, scripted: Any, capitals: Any, suite: Any) -> None:
    model = telling(scripted(), -2.0)
    assert run(capitals, model).tuned.likelihood is None
    assert model.scored == []
    asked = suite(TESTS.replace("gates: [perplexity <= 8, delta_log_likelihood > 0]\n", ""))
    assert run(asked, model, likelihood=True).tuned.likelihood.tokens == 6
    assert [reference_of(case) for case in asked.cases] == ["four words are here", "two words", None, None]


def test_the_baseline_is_scored_once(scripted: Any) -> None:
    model = telling(scripted(), -2.0)
    once = Once(model)
    assert once.score([], "a b") == once.score([], "a b") == Forced(-4.0, 2)
    assert model.scored == ["a b"]
    assert Once(scripted()).score([], "a") is None


class LlamaCpp:
    """Tells of tokens, one a letter, what the real one does: nothing of one that is a part of a character."""

    def __init__(self, partial: str = "") -> None:
        self.partial = {ord(letter) for letter in partial}
        self.asked: list[int] = []

    def __call__(self, path: str, body: Any) -> Any:
        if path == "/tokenize":
            return {"tokens": [ord(letter) for letter in body["content"]]}
        (forced, _), count = body["logit_bias"][0], body["n_probs"]
        self.asked.append(count)
        if forced in self.partial:
            return {"content": ""}
        rows = [{"id": token, "logprob": -token / 100} for token in range(min(count, 500))]
        return {"completion_probabilities": [{"id": forced, "logprob": -forced / 100, "top_logprobs": rows}]}


def test_llama_cpps_own_figure_of_each_token_is_read() -> None:
    assert force(LlamaCpp(), "ask:", "xyz") == Forced(pytest.approx(-(120 + 121 + 122) / 100), 3)


def test_a_part_of_a_character_is_looked_up_among_all() -> None:
    server = LlamaCpp(partial="xƐ")
    assert force(server, "ask:", "xƐ").log_likelihood == pytest.approx(-(120 + 400) / 100)
    assert server.asked == [1, 256, 1, 256, 1 << 20]


def test_a_token_that_is_told_nothing_of_is_an_error_and_no_zero() -> None:
    with pytest.raises(ServerError, match="tells no probability of the token 7000"):
        force(LlamaCpp(partial=chr(7000)), "ask:", chr(7000))


@pytest.mark.parametrize(
    ("left", "right", "expected"), [("ab", "abc", 2), ("ab", "axc", 1), ("", "abc", 1), ("b", "a", 1)]
)
def test_words_that_melt_into_the_prompt_count_with_what_they_melt_with(left: str, right: str, expected: int) -> None:
    assert same(left.encode(), right.encode()) == expected
