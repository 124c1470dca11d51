from __future__ import annotations

import pytest

from ggship.errors import ToolFailed
from ggship.evals.assertions import Judgement, judge
from ggship.evals.patterns import Patterns
from ggship.evals.suite import Assertion


def held(text: str, type_: str, value: object, **more: object) -> Judgement:
    with Patterns() as patterns:
        return judge(text, Assertion(type_, value, **more), patterns)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "type_", "value", "passed"),
    [
        (" Paris\n", "equals", "Paris", True),
        ("Paris.", "equals", "Paris", False),
        ("It is Paris.", "contains", "Paris", True),
        ("It is paris.", "contains", "Paris", False),
        ("It is PARIS.", "icontains", "paris", True),
        ("GROSSE Straße", "icontains", "große", True),
        ("a b c", "contains-all", ("a", "c"), True),
        ("a b", "contains-all", ("a", "c"), False),
        ("A b", "icontains-all", ("a", "B"), True),
        ("a b", "contains-any", ("x", "b"), True),
        ("a b", "contains-any", ("x", "y"), False),
        ("a b", "icontains-any", ("X", "B"), True),
        ("No. It is not.", "starts-with", "No", True),
        ("Yes", "starts-with", "No", False),
        ("§ 12 (3)", "regex", r"§\s*\d+", True),
        ("none", "regex", r"^\d", False),
        ("合同有效", "regex", "合同..效", False),
        ("合同有效", "regex", "合同有?效", True),
        ("It is Rome.", "not-contains", "Paris", True),
        ("It is Paris.", "not-contains", "Paris", False),
        ("abc", "not-regex", "b", False),
    ],
)
def test_what_holds_and_what_does_not(text: str, type_: str, value: object, passed: bool) -> None:
    judged = held(text, type_, value)
    assert judged.passed is passed
    assert judged.reason
    assert judged.score == 1.0 if passed else judged.score < 1.0


def test_the_reason_names_what_is_missing() -> None:
    judged = held("a b", "contains-all", ("a", "c", "d"))
    assert "“c”, “d”" in judged.reason
    assert "“a”" not in judged.reason
    assert judged.score == pytest.approx(1 / 3)


def test_levenshtein_counts_edits() -> None:
    assert held("kitten", "levenshtein", "sitting", threshold=3.0).passed
    assert not held("kitten", "levenshtein", "sitting", threshold=2.0).passed


def test_rouge_l_of_the_reference_itself_passes_at_threshold_one() -> None:
    judged = held("应当书面通知", "rouge-l", "应当书面通知", threshold=1.0)
    assert judged.passed
    assert "by char" in judged.reason
    assert not held("口头就行", "rouge-l", "应当书面通知", threshold=0.3).passed
    assert held("in writing please", "rouge-l", "in writing", threshold=0.75).score == pytest.approx(0.8)


def test_an_endless_regex_is_stopped_and_the_next_one_works() -> None:
    with Patterns(limit=0.3) as patterns:
        with pytest.raises(ToolFailed, match="took longer than"):
            patterns.search("(a+)+$", "a" * 40 + "b")
        assert patterns.search("b", "ab") == 1


def test_a_regex_searches_two_megabytes_of_anything() -> None:
    with Patterns() as patterns:
        assert patterns.search("needle", "hay\n\u2028" * 400_000 + "needle") == 2_000_000
