"""Holding answers against the assertions of their case, once both models have been asked."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from ggship.errors import GgshipError, UsageError
from ggship.evals.assertions import Judgement, Said, judge, kind_of
from ggship.evals.instruments import Instruments
from ggship.evals.report import Attempt, Checked, Outcome, Result
from ggship.evals.suite import Assertion, Case, Suite
from ggship.runtimes.model import Answer, FunctionCall, ToolCall

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
        for item in case.assertions:
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
) -> Result:
    """What one model's answers to a case are worth. error: why the last of its repeats was not answered.

    base: the other model's answers to the same; None where this is the base itself, which is not held to what compares
    with it. Law: an answer that is missing, or cannot be judged, makes the case an error and never a pass or a fail.
    """
    attempts = [
        _attempt(case, answer, instruments, base, number) for number, answer in enumerate(answers[: case.repeat])
    ]
    if error:
        attempts.append(Attempt("error", error=error))
    if case.repeat == 1:
        return _result(attempts[0], answers[0] if answers else None)
    outcome = _together([attempt.outcome for attempt in attempts], case.wanted_passes)
    shown = next((number for number, attempt in enumerate(attempts) if attempt.outcome == outcome), 0)
    result = _result(attempts[shown], answers[shown] if shown < len(answers) else None)
    scores = [attempt.score for attempt in attempts if attempt.score is not None]
    return replace(
        result,
        outcome=outcome,
        score=sum(scores) / len(scores) if scores and outcome != "error" else None,
        checks=_merged(attempts, case.wanted_passes),
        attempts=tuple(attempts),
    )


def _together(outcomes: Sequence[str], wanted: int) -> Outcome:
    if "error" in outcomes:
        return "error"
    return "pass" if outcomes.count("pass") >= wanted else "fail"


def _attempt(
    case: Case, answer: Answer, instruments: Instruments, base: Sequence[Answer] | None, number: int
) -> Attempt:
    said = Said(
        text=clean(answer.text).strip(),
        finish=answer.finish,
        seconds=answer.seconds,
        messages=case.messages,
        base=clean(base[number].text) if base is not None and number < len(base) else None,
        calls=tuple(_clean_call(call) for call in answer.tool_calls),
        tools=case.options.tools,
    )
    checks: list[Checked] = []
    trouble = ""
    for assertion in case.assertions:
        if base is None and "base" in kind_of(assertion.type).needs:
            continue
        try:
            found = _judged(said, assertion, instruments)
        except GgshipError as error:
            trouble = trouble or f"{assertion.type}: {error}"
            continue
        checks.append(
            Checked(assertion.type, assertion.name, found.passed, found.score, found.reason, assertion.weight)
        )
    weight = sum(check.weight for check in checks)
    passed = all(check.passed for check in checks if check.weight)
    return Attempt(
        outcome="error" if trouble else ("pass" if passed else "fail"),
        text=clean(answer.text),
        finish=answer.finish,
        score=sum(check.weight * check.score for check in checks) / weight if weight and not trouble else None,
        checks=tuple(checks),
        error=clean(trouble),
        tool_calls=said.calls,
    )


def _judged(said: Said, assertion: Assertion, instruments: Instruments) -> Judgement:
    found = judge(said, assertion, instruments)
    return replace(found, reason=clean(found.reason))


def _result(attempt: Attempt, answer: Answer | None) -> Result:
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
    )


def _merged(attempts: Collection[Attempt], wanted: int) -> tuple[Checked, ...]:
    """Each assertion over all attempts: it holds where it held often enough, and scores its mean."""
    rows = [attempt.checks for attempt in attempts if attempt.outcome != "error"]
    merged = []
    for checks in zip(*rows, strict=True):
        held = sum(check.passed for check in checks)
        passed = held >= wanted
        reason = next((check.reason for check in checks if check.passed is passed), checks[0].reason)
        score = sum(check.score for check in checks) / len(checks)
        merged.append(replace(checks[0], passed=passed, score=score, reason=f"{held} of {len(checks)} times: {reason}"))
    return tuple(merged)


def _clean_call(call: ToolCall) -> ToolCall:
    function = call["function"]
    named = FunctionCall(name=clean(function["name"]), arguments=clean(function["arguments"]))
    return ToolCall(id=call["id"], type=call["type"], function=named)


def clean(text: str) -> str:
    """Without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return _SURROGATES.sub("\ufffd", text)
