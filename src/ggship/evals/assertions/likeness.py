"""Assertions on how like an answer is to a reference text."""

from __future__ import annotations

from ggship.evals import metrics
from ggship.evals.assertions.registry import Judgement, Subject, assertion, at_least


@assertion(
    "levenshtein",
    "text",
    "at most `threshold` edits of one character from this text",
    threshold=5,
    threshold_is="count",
)
def _levenshtein(subject: Subject) -> Judgement:
    wanted = subject.value.strip()
    limit = subject.threshold
    edits = metrics.levenshtein(subject.text, wanted)
    longest = max(len(subject.text), len(wanted), 1)
    return Judgement(edits <= limit, 1 - edits / longest, f"{edits} edits away, {limit:g} allowed")


def _rouge(subject: Subject, n: int) -> Judgement:
    """ROUGE-N, or ROUGE-L where n is 0."""
    unit = metrics.unit_of(subject.value, subject.assertion.unit)
    ours, theirs = metrics.rouge_tokens(subject.text, unit), metrics.rouge_tokens(subject.value.strip(), unit)
    score = metrics.rouge_n(ours, theirs, n) if n else metrics.rouge_l(ours, theirs)
    return at_least(subject, score, f"by {unit}")


@assertion(
    "rouge-l",
    "text",
    "ROUGE-L (F measure) against this text is at least `threshold`",
    threshold=0.75,
    threshold_is="score",
    counts_tokens=True,
)
def _rouge_l(subject: Subject) -> Judgement:
    return _rouge(subject, 0)


@assertion(
    "rouge-1",
    "text",
    "ROUGE-1 (F measure) against this text is at least `threshold`",
    threshold=0.75,
    threshold_is="score",
    counts_tokens=True,
)
def _rouge_1(subject: Subject) -> Judgement:
    return _rouge(subject, 1)


@assertion(
    "rouge-2",
    "text",
    "ROUGE-2 (F measure) against this text is at least `threshold`",
    threshold=0.75,
    threshold_is="score",
    counts_tokens=True,
)
def _rouge_2(subject: Subject) -> Judgement:
    return _rouge(subject, 2)


@assertion(
    "rouge-n",
    "text",
    "promptfoo's name for rouge-1",
    threshold=0.75,
    threshold_is="score",
    counts_tokens=True,
)
def _rouge_n(subject: Subject) -> Judgement:
    return _rouge(subject, 1)


@assertion(
    "bleu",
    "text",
    "BLEU-4 against this text is at least `threshold`",
    threshold=0.5,
    threshold_is="score",
    counts_tokens=True,
)
def _bleu(subject: Subject) -> Judgement:
    unit = metrics.unit_of(subject.value, subject.assertion.unit)
    wanted = subject.value.strip()
    score = metrics.bleu(metrics.bleu_tokens(subject.text, unit), metrics.bleu_tokens(wanted, unit))
    return at_least(subject, score, f"by {unit}")


@assertion(
    "chrf",
    "text",
    "chrF against this text is at least `threshold`",
    threshold=0.5,
    threshold_is="score",
)
def _chrf(subject: Subject) -> Judgement:
    return at_least(subject, metrics.chrf(subject.text, subject.value))
