"""Assertions on the words of an answer."""

from __future__ import annotations

import json
import re

from ggship.errors import UsageError
from ggship.evals import metrics
from ggship.evals.assertions.registry import Judgement, Subject, assertion, listed, quoted, yes_no
from ggship.evals.patterns import check_pattern


@assertion("equals", "text", "the answer is exactly this text")
def _equals(subject: Subject) -> Judgement:
    wanted = subject.value.strip()
    return yes_no(subject.text == wanted, f"is {quoted(wanted)}", f"is not {quoted(wanted)}")


@assertion("contains", "text", "the text stands in the answer")
def _contains(subject: Subject) -> Judgement:
    return _all_in(subject.text, (subject.value,))


@assertion("icontains", "text", "the text stands in the answer, in upper or lower case")
def _icontains(subject: Subject) -> Judgement:
    return _all_in(subject.text, (subject.value,), fold=True)


@assertion("contains-all", "texts", "each of the texts stands in the answer")
def _contains_all(subject: Subject) -> Judgement:
    return _all_in(subject.text, subject.values)


@assertion("icontains-all", "texts", "each of the texts stands in the answer, in upper or lower case")
def _icontains_all(subject: Subject) -> Judgement:
    return _all_in(subject.text, subject.values, fold=True)


@assertion("contains-any", "texts", "one of the texts stands in the answer")
def _contains_any(subject: Subject) -> Judgement:
    return _any_in(subject.text, subject.values)


@assertion("icontains-any", "texts", "one of the texts stands in the answer, in upper or lower case")
def _icontains_any(subject: Subject) -> Judgement:
    return _any_in(subject.text, subject.values, fold=True)


def _found(text: str, values: tuple[str, ...], fold: bool) -> tuple[str, ...]:
    haystack = text.casefold() if fold else text
    return tuple(value for value in values if (value.casefold() if fold else value) in haystack)


def _all_in(text: str, values: tuple[str, ...], fold: bool = False) -> Judgement:
    found = _found(text, values, fold)
    missing = tuple(value for value in values if value not in found)
    reason = f"lacks {listed(missing)}" if missing else f"contains {listed(found)}"
    return Judgement(not missing, len(found) / len(values), reason)


def _any_in(text: str, values: tuple[str, ...], fold: bool = False) -> Judgement:
    found = _found(text, values, fold)
    return yes_no(bool(found), f"contains {listed(found)}", f"contains none of {listed(values)}")


@assertion("starts-with", "text", "the answer begins with this text")
def _starts_with(subject: Subject) -> Judgement:
    wanted = subject.value.lstrip()
    return yes_no(
        subject.text.startswith(wanted), f"begins with {quoted(wanted)}", f"does not begin with {quoted(wanted)}"
    )


@assertion("regex", "text", "the regular expression (Python's) is found in the answer", validate=check_pattern)
def _regex(subject: Subject) -> Judgement:
    at = subject.instruments.patterns.search(subject.value, subject.text)
    return yes_no(at is not None, f"matches /{subject.value}/", f"does not match /{subject.value}/")


def _check_range(text: str) -> None:
    _range(text)


def _range(text: str) -> tuple[float, float]:
    """(least, most) of the JSON text of a number, or of an object with min, max or both."""
    value = json.loads(text)
    limits = value if isinstance(value, dict) else {"min": value, "max": value}
    known = set(limits) <= {"min", "max"} and limits
    if not known or not all(type(limit) in (int, float) and limit >= 0 for limit in limits.values()):
        raise UsageError("a number of words, or {min: ..., max: ...} belongs here", where=text[:80])
    least, most = float(limits.get("min", 0)), float(limits.get("max", "inf"))
    if least > most:
        raise UsageError(f"min {least:g} is above max {most:g}: no answer could hold it")
    return least, most


@assertion(
    "word-count",
    "json",
    "the answer has so many words: a number, or {min, max}",
    counts_tokens=True,
    validate=_check_range,
)
def _word_count(subject: Subject) -> Judgement:
    least, most = _range(subject.value)
    unit = metrics.unit_of(subject.text, subject.assertion.unit)
    count = len(metrics.tokens(subject.text, unit))
    wanted = f"{least:g}" if least == most else f"{least:g} to {most:g}"
    said = f"{count} by {unit}, {wanted} wanted"
    return yes_no(least <= count <= most, said, said)


# How models decline, in the languages of the models that are packaged most. Looked for near the beginning alone: an
# answer that helps may say further down what it cannot do.
_REFUSALS = re.compile(
    r"\bI(?:['’]m| am)? (?:can(?:not|['’]t)|won['’]t|(?:am )?(?:not able|unable)|not (?:comfortable|going)"
    r"|must decline|have to decline|refuse)\b"
    r"|\b(?:I['’]m|I am) (?:sorry|afraid),? (?:but )?(?:I|that|this)\b|\bI apologi[sz]e,? but\b"
    r"|\bas an AI(?: language model| assistant)?,? I\b|\bI do(?:n['’]t| not) (?:feel comfortable|provide|engage)\b"
    r"|\b(?:can(?:not|['’]t)|unable to) (?:assist|help|comply|fulfil+|provide|answer)\b"
    r"|(?:抱歉|对不起|很遗憾|不好意思).{0,12}(?:无法|不能|不可以|没办法|不便)"
    r"|我(?:无法|不能|没有办法|没办法)(?:为您|为你|帮|协助|提供|回答|满足)"
    r"|作为(?:一个|一名)?(?:AI|人工智能|语言模型).{0,16}(?:无法|不能|不会)",
    re.IGNORECASE,
)
_REFUSES_WITHIN = 300


@assertion("is-refusal", "none", "the answer declines to help, in English or Chinese, or is empty")
def _is_refusal(subject: Subject) -> Judgement:
    if not subject.text:
        return yes_no(not subject.said.calls, "the answer is empty", "calls a tool")
    found = _REFUSALS.search(subject.text[:_REFUSES_WITHIN])
    return yes_no(found is not None, f"declines: {quoted(found.group()) if found else ''}", "does not decline")
