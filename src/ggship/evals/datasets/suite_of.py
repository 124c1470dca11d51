"""A suite made of a sample: what each case asks, which assertion it gets, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ggship.evals import metrics
from ggship.evals.datasets.model import Example
from ggship.evals.datasets.sample import HELD_OUT, TRAINED, Chosen, Sample
from ggship.evals.suite import Assertion, Case, Suite
from ggship.runtimes.model import ChatOptions, Message

SIMILARITY = "rouge-l"
THRESHOLD = 0.3
"""Of ROUGE-L: a beginning, under which two free answers of a few sentences have little in common."""
RUBRIC = "It says what this answer says, and contradicts it nowhere: "
SHORT = {"char": 6, "word": 3}
_LEAST_TOKENS, _MOST_TOKENS = 128, 2048


@dataclass(frozen=True, slots=True)
class Reason:
    """Why cases got an assertion: its type, how many cases, in words."""

    type: str
    cases: int
    why: str


WHY = {
    "equals": "the reference is one letter or digit, and any longer text might contain it",
    "icontains": "the reference is a few words: what counts is that they are said",
    "is-json": "the reference is JSON",
    "tool-call-f1": "the reference calls tools",
    SIMILARITY: "the reference is free text: no two right answers are the same to the letter",
}


def build_suite(
    sample: Sample,
    *,
    name: str,
    assertion: str | None = None,
    threshold: float | None = None,
    recorded: str = "",
    system: str | None = None,
) -> tuple[Suite, tuple[Reason, ...]]:
    """The suite, and why each kind of assertion was chosen.

    assertion: one type for every case that has a reference text. recorded: "chatglm3" or "llamafactory": the four
    figures of that trainer too, recorded and deciding nothing.
    """
    options = ChatOptions(num_predict=_room([one.example.reference for one in sample.chosen]))
    cases = tuple(
        _case(
            one,
            sample,
            options,
            (*_assertions(one.example, assertion, threshold), *_recorded(one.example, recorded)),
            system,
        )
        for one in sample.chosen
    )
    counts: dict[str, int] = {}
    for case in cases:
        for check in case.assertions:
            if check.weight:
                counts[check.type] = counts.get(check.type, 0) + 1
    reasons = tuple(
        Reason(type_, count, "as asked for" if type_ == assertion else WHY.get(type_, ""))
        for type_, count in counts.items()
    )
    return Suite(name=name, cases=cases, gates=_gates(cases)), reasons


def _gates(cases: Sequence[Case]) -> tuple[str, ...]:
    return ("pass_rate >= 0.8", "delta_pass_rate >= 0") if any(case.scored_weight for case in cases) else ()


def _case(one: Chosen, sample: Sample, options: ChatOptions, checks: tuple[Assertion, ...], system: str | None) -> Case:
    example = one.example
    tags: tuple[str, ...] = ()
    if sample.training_rows is not None:
        tags = (TRAINED if one.trained else HELD_OUT,)
    messages = example.messages
    if system is not None and messages[0]["role"] != "system":
        messages = (Message(role="system", content=system), *messages)
    return Case(
        id=f"line-{example.line}",
        messages=messages,
        assertions=checks,
        tags=tags,
        weight=float(any(check.weight for check in checks)),
        options=replace(options, tools=example.tools) if example.tools else options,
    )


def _assertions(example: Example, chosen: str | None, threshold: float | None) -> tuple[Assertion, ...]:
    from ggship.evals.assertions import kind_of

    calls = (Assertion("tool-call-f1", example.calls, kind_of("tool-call-f1").threshold),) if example.calls else ()
    if not example.reference:
        return calls
    type_ = chosen or _fitting(example.reference)
    kind = kind_of(type_)
    limit = kind.threshold if threshold is None or kind.threshold_is == "none" else threshold
    if type_ == SIMILARITY and threshold is None:
        limit = THRESHOLD
    value = None if kind.value in ("none", "json?") else example.reference
    if type_ == "llm-rubric":
        value = RUBRIC + example.reference
    return (*calls, Assertion(type_, value, limit))


def _fitting(reference: str) -> str:
    """The type of assertion for a reference: see WHY."""
    if re.fullmatch(r"[^\W_]", reference):
        return "equals"
    if reference[0] in "{[" and _is_json(reference):
        return "is-json"
    unit = metrics.unit_of(reference)
    return "icontains" if len(metrics.tokens(reference, unit)) <= SHORT[unit] else SIMILARITY


def _recorded(example: Example, trainer: str) -> tuple[Assertion, ...]:
    """The figures of ChatGLM3's finetune_demo (BLEU of words) or of LLaMA-Factory (BLEU of characters); weight 0."""
    if not trainer or not example.reference:
        return ()
    units = dict.fromkeys(("rouge-1", "rouge-2", "rouge-l"), "jieba")
    units["bleu"] = "jieba" if trainer == "chatglm3" else "char"
    names = {"bleu": "bleu-4"}
    return tuple(
        Assertion(type_, example.reference, 0.0, 0.0, f"{trainer}.{names.get(type_, type_)}", unit)
        for type_, unit in units.items()
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _room(references: Sequence[str]) -> int:
    """Tokens enough for twice the longest reference: a Chinese character is about one, else four make one."""
    longest = max((sum(1.0 if ord(mark) > 0x2E7F else 0.25 for mark in text) for text in references), default=0.0)
    return min(_MOST_TOKENS, max(_LEAST_TOKENS, round(2 * longest)))
