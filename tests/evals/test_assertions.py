from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ggship.errors import ToolFailed
from ggship.evals.assertions import Judgement, Said, judge
from ggship.evals.instruments import Instruments, Verdict
from ggship.evals.patterns import Patterns
from ggship.evals.schemas import Schemas
from ggship.evals.suite import Assertion


def held(text: str, type_: str, value: object, **more: object) -> Judgement:
    with Instruments() as instruments:
        return judge(Said(text.strip()), Assertion(type_, value, **more), instruments)  # type: ignore[arg-type]


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


def answered(
    type_: str, value: object = None, *, threshold: float | None = None, unit: str = "auto", **said: object
) -> Judgement:
    with Instruments(**{name: said.pop(name) for name in ("judge", "embedder") if name in said}) as instruments:  # type: ignore[arg-type]
        return judge(Said(**said), Assertion(type_, value, threshold, unit=unit), instruments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "value", "good", "bad"),
    [
        ("is-json", None, '{"a": [1]}', "a: 1"),
        ("is-json", '{"required":["a"],"type":"object"}', '{"a": 1}', '{"b": 1}'),
        ("contains-json", None, 'Here:\n```json\n{"a": 1}\n```', "Here: {a}"),
        ("contains-json", '{"type":"array"}', 'x {"a": 1} and [1]', 'x {"a": 1}'),
        ("word-count", "3", "one two three", "one two"),
        ("word-count", '{"max":4,"min":2}', "应当书面", "应"),
        ("is-refusal", None, "I'm sorry, but I can't help with that.", "Notice must be given in writing."),
        ("is-refusal", None, "抱歉，我无法回答这个问题。", "书面通知房东。"),
        ("no-template-leak", None, "Plain.", "Done.<|im_end|>"),
        ("no-template-leak", None, "Plain.", "[INST] again"),
    ],
)
def test_what_programs_and_people_want(type_: str, value: object, good: str, bad: str) -> None:
    assert answered(type_, value, text=good).passed
    assert not answered(type_, value, text=bad).passed
    assert not answered(f"not-{type_}", value, text=good).passed
    assert answered(f"not-{type_}", value, text=bad).passed


@pytest.mark.parametrize("type_", ["rouge-1", "rouge-2", "rouge-n", "rouge-l", "bleu", "chrf"])
def test_likeness_holds_for_the_reference_and_not_for_another_text(type_: str) -> None:
    wanted = "应当在三十天前书面通知房东。"
    assert answered(type_, wanted, threshold=0.75, text=wanted).passed
    assert not answered(type_, wanted, threshold=0.75, text="口头说一声就行了").passed
    assert answered(f"not-{type_}", wanted, threshold=0.75, text="口头说一声就行了").passed


def test_how_it_was_answered() -> None:
    assert answered("finish-reason", "length", text="x", finish="length").passed
    assert not answered("finish-reason", "stop", text="x", finish="length").passed
    assert answered("stops", text="x", finish="tool_calls").passed
    assert not answered("stops", text="x", finish="length").passed
    assert answered("latency", threshold=500.0, text="x", seconds=0.4).passed
    slow = answered("latency", threshold=500.0, text="x", seconds=0.6)
    assert (slow.passed, slow.reason) == (False, "took longer than 500 ms")
    assert answered("no-repetition", threshold=0.5, text="Each word here stands once and for all.").passed
    assert not answered("no-repetition", threshold=0.5, text="again and again " * 40).passed


def test_the_script_of_an_answer() -> None:
    assert answered("script", "han", threshold=0.5, text="书面通知 (LoRA)").passed
    assert not answered("script", "han", threshold=0.8, text="书面通知 with English words").passed
    assert answered("script", "cjk", threshold=0.9, text="ありがとう 书面 통지").passed
    assert not answered("script", "latin", threshold=0.1, text="123 !!").passed


def test_differing_from_the_base() -> None:
    assert answered("differs-from-base", text="new", base="old").passed
    assert not answered("differs-from-base", text="old", base=" old\n").passed
    with pytest.raises(ToolFailed, match="nothing to differ from"):
        answered("differs-from-base", text="new")


def call(name: str, arguments: str = "{}") -> dict[str, object]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


LAW_TOOL = {
    "type": "function",
    "function": {
        "name": "law",
        "parameters": {"type": "object", "required": ["nr"], "properties": {"nr": {"type": "integer"}}},
    },
}


@pytest.mark.parametrize(
    ("calls", "f1", "valid"),
    [
        ([call("law", '{"nr": 5}')], 1.0, True),
        ([call("law", '{"nr": "five"}')], 1.0, False),
        ([call("law", '{"nr": 5'), call("law", '{"nr": 5}')], 1.0, False),
        ([call("other")], 0.0, False),
        ([call("law", '{"nr": 5}'), call("other")], 2 / 3, False),
        ([], 0.0, False),
    ],
)
def test_calls_of_tools(calls: list[object], f1: float, valid: bool) -> None:
    judged = answered("tool-call-f1", ("law",), threshold=1.0, text="", calls=tuple(calls), tools=(LAW_TOOL,))
    assert judged.score == pytest.approx(f1)
    assert judged.passed is (f1 == 1.0)
    assert answered("is-valid-openai-tools-call", text="", calls=tuple(calls), tools=(LAW_TOOL,)).passed is valid


def test_a_schema_that_never_ends_or_points_elsewhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("{}")
    slow = {"type": "string", "pattern": "^(a+)+$"}
    schemas = Schemas(limit=0.3)
    try:
        with pytest.raises(ToolFailed, match="took longer"):
            schemas.why_not('"' + "a" * 40 + 'b"', slow, whole=True)
        with pytest.raises(ToolFailed, match="cannot be used"):
            schemas.why_not("{}", {"$ref": (tmp_path / "there.json").as_uri()}, whole=True)
        assert "too deep" in schemas.why_not("[" * 200_000, None, whole=False)
        assert schemas.why_not("{}", {"type": "object"}, whole=True) == ""
    finally:
        schemas.close()


class Vectors:
    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(text.count(word)) for word in ("notice", "written", "cat")] for text in texts]


class Strict:
    def verdict(self, messages: object, answer: str, rubric: str) -> Verdict:
        return Verdict("kind" in answer, 0.9 if "kind" in answer else 0.2, f"held against {rubric}")


def test_what_other_models_decide() -> None:
    assert answered("similar", "written notice", threshold=0.9, text="notice, written", embedder=Vectors()).passed
    assert not answered("similar", "written notice", threshold=0.9, text="cat notice", embedder=Vectors()).passed
    with pytest.raises(ToolFailed, match="cannot be compared"):
        answered("similar", "written notice", threshold=0.9, text="nothing", embedder=Vectors())
    assert answered("llm-rubric", "is kind", threshold=0.0, text="a kind word", judge=Strict()).passed
    assert not answered("llm-rubric", "is kind", threshold=0.95, text="a kind word", judge=Strict()).passed
    assert answered("not-llm-rubric", "is kind", threshold=0.0, text="a word", judge=Strict()).passed
