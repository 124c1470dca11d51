"""The assertions that a suite can make, by the names promptfoo gave them.

To add one: write a function that takes a `Subject` and gives a `Judgement`, and put `@assertion(...)` over it. That is
all: the suite loader checks its value, the report shows it, `metric.NAME` works in gates, and so does `not-NAME`.
Then `python -m ggship.evals.suite_schema > templates/schemas/suite.schema.json` tells editors of it, and docs/suite.md
gets a line (a test fails until both have).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ggship.evals import metrics
from ggship.evals.patterns import Patterns, check_pattern
from ggship.evals.suite import Assertion

Value = Literal["text", "texts", "none"]
NEGATION = "not-"
TOLERANCE = 1e-7  # of a score against its threshold: rouge-l of equal texts is 1 - 5e-9


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: the answer's text (white space at both ends taken off), under one assertion of the suite."""

    text: str
    assertion: Assertion
    patterns: Patterns

    @property
    def value(self) -> str:
        """The assertion's value, where it is one text."""
        return self.assertion.value if isinstance(self.assertion.value, str) else ""

    @property
    def values(self) -> tuple[str, ...]:
        """The assertion's value, where it is a list."""
        return self.assertion.value if isinstance(self.assertion.value, tuple) else (self.value,)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of it. score: 0..1. reason: one line for a reader, written for `passed` as it is."""

    passed: bool
    score: float
    reason: str


Check = Callable[[Subject], Judgement]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of assertion: what its value is, whether it has a threshold and which it has unless told."""

    name: str
    check: Check
    value: Value
    about: str
    threshold: float | None = None
    threshold_is: Literal["none", "score", "count"] = "none"
    counts_tokens: bool = False
    validate: Callable[[str], None] | None = None


REGISTRY: dict[str, Kind] = {}


def assertion(
    name: str,
    value: Value,
    about: str,
    *,
    threshold: float | None = None,
    threshold_is: Literal["none", "score", "count"] = "none",
    counts_tokens: bool = False,
    validate: Callable[[str], None] | None = None,
) -> Callable[[Check], Check]:
    """Register the function under that name. `validate` raises UsageError for a value that cannot be meant."""

    def register(check: Check) -> Check:
        REGISTRY[name] = Kind(name, check, value, about, threshold, threshold_is, counts_tokens, validate)
        return check

    return register


def names() -> tuple[str, ...]:
    """Every type a suite may name, the negated ones too."""
    return tuple(REGISTRY) + tuple(NEGATION + name for name in REGISTRY)


def kind_of(type_: str) -> Kind:
    """The registered kind behind a type; KeyError where there is none."""
    return REGISTRY[type_.removeprefix(NEGATION)]


def judge(text: str, assertion_: Assertion, patterns: Patterns) -> Judgement:
    """Hold one answer against one assertion. ToolFailed where it could not be judged."""
    kind = kind_of(assertion_.type)
    found = kind.check(Subject(text.strip(), assertion_, patterns))
    if not assertion_.type.startswith(NEGATION):
        return found
    return Judgement(not found.passed, 1.0 - found.score, f"must not hold: {found.reason}")


def _yes_no(passed: bool, yes: str, no: str) -> Judgement:
    return Judgement(passed, float(passed), yes if passed else no)


def _quoted(text: str, limit: int = 80) -> str:
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"“{shown}”"


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(_quoted(value, 40) for value in values)


@assertion("equals", "text", "the answer is exactly this text")
def _equals(subject: Subject) -> Judgement:
    wanted = subject.value.strip()
    return _yes_no(subject.text == wanted, f"is {_quoted(wanted)}", f"is not {_quoted(wanted)}")


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
    reason = f"lacks {_listed(missing)}" if missing else f"contains {_listed(found)}"
    return Judgement(not missing, len(found) / len(values), reason)


def _any_in(text: str, values: tuple[str, ...], fold: bool = False) -> Judgement:
    found = _found(text, values, fold)
    return _yes_no(bool(found), f"contains {_listed(found)}", f"contains none of {_listed(values)}")


@assertion("starts-with", "text", "the answer begins with this text")
def _starts_with(subject: Subject) -> Judgement:
    wanted = subject.value.lstrip()
    return _yes_no(
        subject.text.startswith(wanted), f"begins with {_quoted(wanted)}", f"does not begin with {_quoted(wanted)}"
    )


@assertion("regex", "text", "the regular expression (Python's) is found in the answer", validate=check_pattern)
def _regex(subject: Subject) -> Judgement:
    at = subject.patterns.search(subject.value, subject.text)
    return _yes_no(at is not None, f"matches /{subject.value}/", f"does not match /{subject.value}/")


@assertion(
    "levenshtein",
    "text",
    "at most `threshold` edits of one character from this text",
    threshold=5,
    threshold_is="count",
)
def _levenshtein(subject: Subject) -> Judgement:
    wanted = subject.value.strip()
    limit = subject.assertion.threshold or 0
    edits = metrics.levenshtein(subject.text, wanted)
    longest = max(len(subject.text), len(wanted), 1)
    return Judgement(edits <= limit, 1 - edits / longest, f"{edits} edits away, {limit:g} allowed")


@assertion(
    "rouge-l",
    "text",
    "ROUGE-L (F measure) against this text is at least `threshold`",
    threshold=0.75,
    threshold_is="score",
    counts_tokens=True,
)
def _rouge_l(subject: Subject) -> Judgement:
    unit = metrics.unit_of(subject.value, subject.assertion.unit)
    score = metrics.rouge_l(metrics.tokens(subject.text, unit), metrics.tokens(subject.value, unit))
    wanted = subject.assertion.threshold or 0
    passed = score >= wanted - TOLERANCE
    return Judgement(passed, score, f"{score:.3f} by {unit}, {wanted:g} wanted")
