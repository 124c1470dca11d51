from __future__ import annotations

import math

import pytest
import rjieba
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_chinese import Rouge
from sacrebleu.metrics import CHRF

from ggship.evals import stats
from ggship.evals.metrics import (
    bleu,
    bleu_tokens,
    chrf,
    levenshtein,
    repetition,
    rouge_l,
    rouge_n,
    rouge_tokens,
    tokens,
    unit_of,
)

# The reference splits tokens at sentence marks inside of them, which no tokenizer would leave there.
chinese = st.text("合同书面通知房东押金的了。，", min_size=1, max_size=40)
words = st.lists(st.sampled_from(("the", "a", "notice", "month", "of", "written", "landlord")), min_size=1, max_size=30)


def reference(hypothesis: list[str], wanted: list[str]) -> float:
    scores = Rouge(metrics=["rouge-l"]).get_scores(" ".join(hypothesis), " ".join(wanted))
    value: float = scores[0]["rouge-l"]["f"]
    return value


@given(chinese, chinese)
def test_rouge_l_is_the_reference_librarys_by_character(left: str, right: str) -> None:
    ours = rouge_l(tokens(left, "char"), tokens(right, "char"))
    assert ours == pytest.approx(reference(list(left), list(right)), abs=1e-9)


@given(words, words)
def test_rouge_l_is_the_reference_librarys_by_word(left: list[str], right: list[str]) -> None:
    assert rouge_l(left, right) == pytest.approx(reference(left, right), abs=1e-9)


# As a model writes: marks, quotes, dots, blank lines and foreign words, at which the reference parts sentences.
prose = st.text("合同书面通知房东押金的了。，！？?”’….\n ab3", min_size=1, max_size=60).filter(
    lambda text: text.strip()
)


@given(prose, prose)
@settings(deadline=None)
def test_the_figures_of_chatglm3s_demo(answer: str, label: str) -> None:
    # finetune_demo/finetune_hf.py, compute_metrics: words cut by jieba, joined by spaces; BLEU of the words, 0..1.
    answer, label = answer.strip(), label.strip()
    ours, theirs = rjieba.cut(answer), rjieba.cut(label)
    reference = Rouge().get_scores(" ".join(ours), " ".join(theirs))[0]
    left, right = rouge_tokens(answer, "jieba"), rouge_tokens(label, "jieba")
    assert rouge_n(left, right, 1) == pytest.approx(reference["rouge-1"]["f"], abs=1e-9)
    assert rouge_n(left, right, 2) == pytest.approx(reference["rouge-2"]["f"], abs=1e-9)
    assert rouge_l(left, right) == pytest.approx(reference["rouge-l"]["f"], abs=1e-9)
    wanted = sentence_bleu([theirs], ours, smoothing_function=SmoothingFunction().method3)
    assert bleu(bleu_tokens(answer, "jieba"), bleu_tokens(label, "jieba")) == pytest.approx(wanted, abs=1e-9)


@given(prose, prose)
@settings(deadline=None)
def test_the_bleu_of_llama_factory_is_by_character(answer: str, label: str) -> None:
    # train/sft/metric.py, ComputeSimilarity: list(label), list(pred); it reports a hundred times that.
    wanted = sentence_bleu([list(label)], list(answer), smoothing_function=SmoothingFunction().method3)
    assert bleu(bleu_tokens(answer, "char"), bleu_tokens(label, "char")) == pytest.approx(wanted, abs=1e-9)


@given(words, words)
def test_rouge_n_and_bleu_of_words(left: list[str], right: list[str]) -> None:
    reference = Rouge().get_scores(" ".join(left), " ".join(right))[0]
    assert rouge_n(left, right, 1) == pytest.approx(reference["rouge-1"]["f"], abs=1e-9)
    assert rouge_n(left, right, 2) == pytest.approx(reference["rouge-2"]["f"], abs=1e-9)
    wanted = sentence_bleu([right], left, smoothing_function=SmoothingFunction().method3)
    assert bleu(left, right) == pytest.approx(wanted, abs=1e-9)


@given(st.text("abc 合同\n", max_size=40), st.text("abc 合同\n", max_size=40))
def test_chrf_is_sacrebleus(answer: str, label: str) -> None:
    assert 100 * chrf(answer, label) == pytest.approx(CHRF().sentence_score(answer, [label]).score, abs=1e-9)


def test_nothing_said_scores_nothing() -> None:
    assert [rouge_n([], ["a"], 1), rouge_l([], ["a"]), bleu([], ["a"]), bleu(["a"], []), chrf("", "a")] == [0.0] * 5


def test_half_a_million_characters_are_scored_in_time() -> None:
    answer, label = "合同书面通知" * 80_000, "应当书面通知房东。"
    assert 0 < chrf(answer, label) < 0.1
    assert 0 < rouge_l(rouge_tokens(answer, "char"), rouge_tokens(label, "char")) < 0.1
    assert bleu(bleu_tokens(answer, "char"), bleu_tokens(label, "char")) < 0.1


@given(st.text(max_size=50), st.text(max_size=50))
def test_rouge_l_is_a_share_and_symmetric(left: str, right: str) -> None:
    score = rouge_l(list(left), list(right))
    assert 0 <= score <= 1
    assert score == rouge_l(list(right), list(left))


def test_the_unit_follows_the_script_of_the_reference() -> None:
    assert [unit_of(text) for text in ("written notice", "书面通知", "LoRA 微调", "ありがとう", "통지", "Ελλάδα")] == [
        "word",
        "char",
        "char",
        "char",
        "char",
        "word",
    ]
    assert unit_of("书面", "word") == "word"
    assert tokens(" 书 面\n通 ", "char") == ["书", "面", "通"]


def test_levenshtein_and_repetition() -> None:
    assert levenshtein("kitten", "sitting") == 3
    assert repetition(list("abcabcabc"), 3) == pytest.approx(1 - 3 / 7)
    assert repetition(["a"], 4) == 0.0


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilson_holds_the_rate_and_stays_a_rate(passed: int, n: int) -> None:
    rate = min(passed, n) / n
    low, high = stats.wilson(rate, n)
    assert 0 <= low <= rate <= high <= 1


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),  # Newcombe 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(passed: int, n: int, low: float, high: float) -> None:
    assert stats.wilson(passed / n, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_nothing_seen_is_nothing_known() -> None:
    assert stats.wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(left: int, right: int) -> None:
    n = left + right
    direct = sum(math.comb(n, k) for k in range(n + 1) if math.comb(n, k) <= math.comb(n, min(left, right))) / 2**n
    assert stats.mcnemar(left, right) == pytest.approx(direct)
    assert stats.mcnemar(left, right) == stats.mcnemar(right, left)


def test_mcnemar_of_a_large_suite_is_quick_and_finite() -> None:
    assert 0 <= stats.mcnemar(9_000, 6_000) < 1e-100
    assert stats.mcnemar(0, 10) == pytest.approx(2 / 1024)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0, 1))
def test_percentiles_lie_within(values: list[float], share: float) -> None:
    found = stats.percentile(values, share)
    assert found is not None
    assert min(values) <= found <= max(values)


def test_percentiles_of_known_rows() -> None:
    assert stats.percentile([3, 1, 2], 0.5) == 2
    assert stats.percentile([1, 2], 0.95) == pytest.approx(1.95)
    assert stats.percentile([], 0.5) is None


def test_unequal_weights_carry_less() -> None:
    assert stats.effective_number([1, 1, 1]) == pytest.approx(3)
    assert stats.effective_number([10, 1]) < 1.3
    assert stats.effective_number([0, 0]) == 0
