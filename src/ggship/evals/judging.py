"""Holding answers against the assertions of their case, once both models have been asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ggship.errors import GgshipError, UsageError
from ggship.evals.assertions import Judgement, Said, judge, kind_of
from ggship.evals.instruments import Instruments
from ggship.evals.report import Attempt, Checked, Outcome, Result
from ggship.evals.suite import Assertion, Case, Suite
from ggship.evals.turns import questions
from ggship.runtimes.model import Answer, FunctionCall, ToolCall

_SHOWN = 3  # reasons of a set of assertions
_SLACK = 1e-9  # a mean is a quotient: three times 0.1 is a little over 0.3
_SURROGATES = re.compile("[\ud800-\udfff]")
_NEEDED = {
    "base": ("the base model to compare with", "give one with --against, or take the assertion out"),
    "judge": ("a judge model", "--judge URL#MODEL, or the name of a model on the Ollama server"),
    "embedder": ("a model that makes embeddings", "--embedder URL#MODEL, or the name of a model on the Ollama server"),
}


def needs_of(suite: Suite) -> dict[str, str]:
    """What must be at hand to judge the suite, each with the first type of assertion that needs it."""
    found: dict[str, str] = {}
    for case in suite.cases:
        for item in case.each_assertion():
            for need in kind_of(item.type).needs:
                found.setdefault(need, item.type)
    return found


def check_needs(suite: Suite, instruments: Instruments, *, has_base: bool) -> None:
    """UsageError where something is missing: better before asking than after."""
    there = {"base": has_base, "judge": instruments.judge, "embedder": instruments.embedder}
    for need, type_ in needs_of(suite).items():
        if not there[need]:
            what, hint = _NEEDED[need]
            raise UsageError(f"the assertion `{type_}` needs {what}", hint=hint)


def judge_case(
    case: Case,
    answers: Sequence[Answer],
    instruments: Instruments,
    *,
    base: Sequence[Answer] | None = None,
    error: str = "",
    before: Sequence[tuple[Answer, ...]] = (),
) -> Result:
    """What one model's answers to a case are worth. error: why the last of its repeats was not answered.

    base: the other model's answers to the same; None where this is the base itself, which is not held to what compares
    with it. before: beside each answer, what the model said earlier in that conversation. Law: an answer that is
    missing, or cannot be judged, makes the case an error and never a pass or a fail.
    """
    spoken = [*before, *[()] * (len(answers) - len(before))]
    attempts = [
        _attempt(case, answer, instruments, base, number, spoken[number])
        for number, answer in enumerate(answers[: case.repeat])
    ]
    if error:
        attempts.append(Attempt("error", error=error))
    if case.repeat == 1:
        return _result(case, attempts[0], answers[0] if answers else None)
    outcome = _together([attempt.outcome for attempt in attempts], case.wanted_passes)
    shown = next((number for number, attempt in enumerate(attempts) if attempt.outcome == outcome), 0)
    result = _result(case, attempts[shown], answers[shown] if shown < len(answers) else None)
    scores = [attempt.score for attempt in attempts if attempt.score is not None]
    return replace(
        result,
        outcome=outcome,
        score=sum(scores) / len(scores) if scores and outcome != "error" else None,
        checks=_merged([one.checks for one in attempts if one.outcome != "error"], case.wanted_passes),
        attempts=tuple(attempts),
    )


def _together(outcomes: Sequence[str], wanted: int) -> Outcome:
    if "error" in outcomes:
        return "error"
    return "pass" if outcomes.count("pass") >= wanted else "fail"


def _attempt(
    case: Case,
    answer: Answer,
    instruments: Instruments,
    base: Sequence[Answer] | None,
    number: int,
    before: tuple[Answer, ...],
) -> Attempt:
    said = Said(
        text=clean(answer.text).strip(),
        finish=answer.finish,
        seconds=answer.seconds,
        messages=list(questions(case, before))[-1],
        base=clean(base[number].text) if base is not None and number < len(base) else None,
        calls=tuple(_clean_call(call) for call in answer.tool_calls),
        tools=case.options.tools,
    )
    troubles: list[str] = []
    checks = _checks(said, case.assertions, instruments, alone=base is None, troubles=troubles)
    score, passed = _weighed(checks, case.threshold)
    trouble = troubles[0] if troubles else ""
    return Attempt(
        outcome="error" if trouble else ("pass" if passed else "fail"),
        text=clean(answer.text),
        finish=answer.finish,
        score=None if trouble else score,
        checks=checks,
        error=clean(trouble),
        turns=tuple(clean(said.text) for said in before),
        tool_calls=said.calls,
    )


def _checks(
    said: Said, wanted: Sequence[Assertion], instruments: Instruments, *, alone: bool, troubles: list[str]
) -> tuple[Checked, ...]:
    """Each assertion held against the answer. alone: there is no base to compare with, so what needs one is left out.

    troubles: takes why one could not be judged.
    """
    checks = []
    for one in wanted:
        if one.inner:
            inner = _checks(said, one.inner, instruments, alone=alone, troubles=troubles)
            if inner:
                checks.append(_of_set(one, inner))
        elif not (alone and "base" in kind_of(one.type).needs):
            try:
                found = _judged(said, one, instruments)
            except GgshipError as error:
                troubles.append(f"{one.type}: {error}")
            else:
                checks.append(Checked(one.type, one.name, found.passed, found.score, found.reason, one.weight))
    return tuple(checks)


def _of_set(wanted: Assertion, inner: tuple[Checked, ...]) -> Checked:
    score, passed = _weighed(inner, wanted.threshold)
    held = sum(check.passed for check in inner)
    reason = f"{held} of {len(inner)} hold"
    if wanted.threshold is not None:
        reason += f", score {score or 0.0:.2f} of {wanted.threshold:g}"
    if lacking := [check.reason for check in inner if not check.passed]:
        reason += f": {'; '.join(lacking[:_SHOWN])}"
    return Checked(wanted.type, wanted.name, passed, score or 0.0, reason, wanted.weight, inner)


def _weighed(checks: Sequence[Checked], threshold: float | None) -> tuple[float | None, bool]:
    """The weighted mean of the scores, None where none weighs, and whether that, or without a threshold each, holds."""
    weight = sum(check.weight for check in checks)
    score = sum(check.weight * check.score for check in checks) / weight if weight else None
    if threshold is None or score is None:
        return score, all(check.passed for check in checks if check.weight)
    return score, score >= threshold - _SLACK


def _judged(said: Said, assertion: Assertion, instruments: Instruments) -> Judgement:
    found = judge(said, assertion, instruments)
    return replace(found, reason=clean(found.reason))


def _result(case: Case, attempt: Attempt, answer: Answer | None) -> Result:
    return Result(
        outcome=attempt.outcome,
        text=attempt.text,
        finish=attempt.finish,
        score=attempt.score,
        checks=attempt.checks,
        error=attempt.error,
        thinking=clean(answer.thinking) if answer else "",
        tokens=answer.tokens if answer else None,
        prompt_tokens=answer.prompt_tokens if answer else None,
        tool_calls=attempt.tool_calls,
        turns=attempt.turns,
        threshold=case.threshold,
    )


def _merged(rows: Sequence[tuple[Checked, ...]], wanted: int) -> tuple[Checked, ...]:
    """Each assertion over all attempts: it holds where it held often enough, and scores its mean."""
    merged = []
    for checks in zip(*rows, strict=True):
        held = sum(check.passed for check in checks)
        passed = held >= wanted
        reason = next((check.reason for check in checks if check.passed is passed), checks[0].reason)
        score = sum(check.score for check in checks) / len(checks)
        inner = _merged([check.inner for check in checks], wanted)
        reason = f"{held} of {len(checks)} times: {reason}"
        merged.append(replace(checks[0], passed=passed, score=score, reason=reason, inner=inner))
    return tuple(merged)


def _clean_call(call: ToolCall) -> ToolCall:
    function = call["function"]
    named = FunctionCall(name=clean(function["name"]), arguments=clean(function["arguments"]))
    return ToolCall(id=call["id"], type=call["type"], function=named)


def clean(text: str) -> str:
    """Without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return _SURROGATES.sub("\ufffd", text)
