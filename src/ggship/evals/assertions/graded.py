"""Assertions that another model decides: likeness of meaning by embeddings, and a rubric by a judge."""

from __future__ import annotations

from ggship.evals.assertions.registry import TOLERANCE, Judgement, Subject, assertion, at_least


@assertion(
    "similar",
    "text",
    "cosine of the embeddings of answer and text is at least `threshold` (needs --embedder)",
    threshold=0.75,
    threshold_is="score",
    needs=("embedder",),
)
def _similar(subject: Subject) -> Judgement:
    return at_least(subject, subject.instruments.likeness(subject.text, subject.value))


@assertion(
    "llm-rubric",
    "text",
    "a judge model finds that the answer meets this rubric (needs --judge)",
    threshold=0,
    threshold_is="score",
    needs=("judge",),
)
def _llm_rubric(subject: Subject) -> Judgement:
    verdict = subject.instruments.verdict(subject.said.messages, subject.text, subject.value)
    passed = verdict.passed and verdict.score >= subject.threshold - TOLERANCE
    return Judgement(passed, verdict.score, f"{verdict.score:g}: {verdict.reason}")
