from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.errors import UsageError
from ggship.evals import Case, Suite, load_suite, parse_suite
from ggship.evals.dump import render_suite
from ggship.evals.load import keep_tagged
from ggship.evals.suite import SET, Assertion
from ggship.evals.suite_schema import suite_schema
from ggship.runtimes.model import ChatOptions, Message
from ggship.settings import templates_dir

SCHEMA = json.loads((templates_dir() / "schemas" / "suite.schema.json").read_text())

GOOD = """
version: 1
name: law
defaults:
  system: You are {{who}}.
  options: {temperature: 0, seed: 7, num_predict: 64, num_ctx: 2048, stop: ["###"]}
  vars: {who: a clerk}
  assert: [{type: not-regex, value: 'as an AI'}]
gates: ["pass_rate >= 90%", metric.likeness >= 0.3]
smoke: {stops: 0.2}
tests:
  - id: one
    prompt: Ask {{what}} \\{{as it is}}
    vars: {what: 007}
    assert:
      - {type: rouge-l, value: 'about {{what}}', threshold: 0.4, unit: word, metric: likeness, weight: 2}
      - {type: contains-any, value: [yes, no]}
    tags: [a, b]
    weight: 3
  - messages:
      - {role: user, content: Hi}
      - {role: assistant, content: Hello}
      - {role: user, content: Bye}
    system: Another.
    options: {num_predict: 8}
"""


def test_everything_a_suite_can_say_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "law-suite.yaml"
    path.write_text("\ufeff" + GOOD, encoding="utf-8")
    suite = load_suite(path)
    one, two = suite.cases
    assert one.messages == (
        {"role": "system", "content": "You are a clerk."},
        {"role": "user", "content": "Ask 007 {{as it is}}"},
    )
    assert one.assertions[1] == Assertion("rouge-l", "about 007", 0.4, 2.0, "likeness", "word")
    assert one.assertions[2].value == ("yes", "no")  # not True and False
    assert (one.weight, one.tags, one.options.num_ctx, one.options.stop) == (3.0, ("a", "b"), 2048, ("###",))
    assert (two.id, two.messages[0]["content"], len(two.messages)) == ("case-2", "Another.", 4)
    assert two.options == ChatOptions(0.0, 7, 8, 2048, ("###",))
    assert suite.gates == ("pass_rate >= 90%", "metric.likeness >= 0.3")
    assert suite.smoke == {"stops": 0.2}
    assert suite.name == "law"


def test_a_suite_without_gates_wants_all_cases_passed() -> None:
    head = "version: 1\ntests: [{prompt: Hi"
    assert parse_suite(head + ", assert: [{type: contains, value: a}]}]").gates == ("pass_rate >= 1",)
    asked_only = parse_suite(head + "}]")
    assert (asked_only.gates, asked_only.cases[0].weight) == ((), 0.0)
    recorded_only = parse_suite(head + ", assert: [{type: contains, value: a, weight: 0}]}]")
    assert (recorded_only.gates, recorded_only.cases[0].weight) == ((), 0.0)


TEST = "version: 1\ntests:\n  - id: a\n    prompt: Hi\n"
MISTAKES = {
    "": "the file is empty",
    "- 1": "a mapping belongs here, not a list",
    "version: 2\ntests: []": "version 2 of suites is not known",
    "tests: [{prompt: a}]": "the key `version` is missing",
    "version: 1\ntests: []": "the suite has no tests",
    "version: 1\ntests:": "a list belongs here, not nothing",
    "version: 1\ntests: {a: 1}": "a list belongs here, not a mapping",
    "version: 1\ntest: []": "did you mean `tests`?",
    "version: 1\ntests: [\n": "not YAML",
    "version: 1\ntests:\n\t- a": "YAML takes no tabs",
    "version: 1\ntests: [{prompt: a {{b}}}]": "quotes around a text with braces",
    "version: 1\nversion: 1\ntests: [{prompt: a}]": "stands here twice",
    TEST + "  - id: a\n    prompt: Ho\n": "two tests have the id `a`",
    TEST + "    promt: x\n": "did you mean `prompt`?",
    TEST + "    messages: []\n": "either `prompt` or `messages`",
    TEST + "    tags: {a: 1}\n": "text belongs here, not a mapping",
    TEST + "    weight: heavy\n": "a number from 0 to 1e+06 belongs here, not text",
    TEST + "    weight: 2\n": "asserts nothing",
    TEST + "    weight: 2\n    assert: [{type: contains, value: a, weight: 0}]\n": "all weigh 0",
    TEST + "    options: {temprature: 1}\n": "did you mean `temperature`?",
    TEST + "    options: {seed: 1.5}\n": "a whole number belongs here",
    TEST + "    options: {num_predict: 0}\n": "a number from 1",
    TEST + "    assert: [{type: contians, value: a}]\n": "did you mean `contains`?",
    TEST + "    assert: [{type: not-contians, value: a}]\n": "did you mean `not-contains`?",
    TEST + "    assert: [{value: a}]\n": "the key `type` is missing",
    TEST + "    assert: [{type: contains}]\n": "`contains` needs a value",
    TEST + "    assert: [{type: contains, value: ''}]\n": "is empty",
    TEST + "    assert: [{type: contains, value: [a]}]\n": "text belongs here, not a list",
    TEST + "    assert: [{type: contains-all, value: a}]\n": "a list belongs here, not text",
    TEST + "    assert: [{type: contains, value: a, threshold: 1}]\n": "has no threshold",
    TEST + "    assert: [{type: contains, value: a, unit: char}]\n": "has no unit",
    TEST + "    assert: [{type: rouge-l, value: a, threshold: 30}]\n": "from 0 to 1",
    TEST + "    assert: [{type: rouge-l, value: a, unit: chars}]\n": "did you mean `char`?",
    TEST + "    assert: [{type: regex, value: '(a'}]\n": "not a regular expression",
    TEST + "    vars: {name: x}\n    system: '{{nme}}'\n": "did you mean `name`?",
    TEST + "gates: [pas_rate >= 1]\n": "did you mean `pass_rate`?",
    TEST + "gates: [pass_rate => 1]\n": "not a gate",
    TEST + "gates: [metric.rouge-l >= 0.3]\n": "no scored test of the suite gives",
    TEST + "    assert: [{type: equals, value: a, weight: 0}]\ngates: [metric.equals >= 1]\n": "takes an assertion",
    TEST + "smoke: {stop: 1}\n": "did you mean `stops`?",
    "version: 1\ntests: [{messages: [{role: bot, content: a}]}]": "unknown role `bot`",
    "version: 1\ntests: [{messages: [{role: user}]}]": "the key `content` is missing",
    "version: 1\ntests: [{messages: [{role: user, content: a, tool_calls: []}]}]": "only the assistant calls tools",
    "version: 1\ntests: [{messages: [{role: tool, content: a}]}]": "answers a call that no turn before it makes",
    TEST + "    repeat: 0\n": "from 1 to 1000",
    TEST + "    repeat: 2\n    passes: 3\n": "from 1 to 2",
    TEST + "    tools: [{description: x}]\n": "the key `name` is missing",
    TEST + "    tools: [{name: x, parametres: {}}]\n": "did you mean `parameters`?",
    TEST + "    assert: [{type: latency}]\n": "`latency` needs a threshold",
    TEST + "    assert: [{type: is-json, value: {type: objekt}}]\n": "not a JSON Schema",
    TEST + "    assert: [{type: word-count, value: {mni: 1}}]\n": "{min: ..., max: ...} belongs here",
    TEST + "    assert: [{type: word-count, value: {min: 3, max: 1}}]\n": "no answer could hold it",
    TEST + "    assert: [{type: script, value: latn}]\n": "did you mean `latin`?",
    TEST + "    assert: [{type: cites-law}]\n": "--plugins MODULE",
    TEST + "    assert: [{type: assert-set}]\n": "`assert-set` needs at least one assertion",
    TEST + "    assert: [{type: assert-set, assert: []}]\n": "`assert-set` needs at least one assertion",
    TEST + "    assert: [{type: assert-set, value: a, assert: [{type: stops}]}]\n": "`assert-set` has no value",
    TEST + "    assert: [{type: assert-set, threshold: 2, assert: [{type: stops}]}]\n": "from 0 to 1",
    TEST + "    assert: [{type: assert-sets, assert: [{type: stops}]}]\n": "did you mean `assert-set`?",
    TEST + "    assert: [{type: stops, assert: [{type: stops}]}]\n": "only `assert-set` is made of",
    TEST + "    assert: [{type: assert-set, assert: [{type: assert-set, assert: [{type: stops}]}]}]\n": "no other",
    TEST + "    assert: [&a {type: assert-set, assert: [*a]}]\n": "no other",
    TEST + "    assert: [{type: assert-set, assert: [{type: stops, weight: 0}]}]\n": "all assertions of this",
    TEST + "    threshold: 0.5\n": "there is no score to hold",
    TEST + "    assert: [{type: stops}]\n    threshold: 50\n": "from 0 to 1",
    "version: 1\ntests: [{messages: [{role: assistant, content: a}]}]": "ends with what the user says",
    "version: 1\ntests: " + "[" * 100_000: "levels deep",
    "version: 1\ntests: &a [*a]\n": "a mapping belongs here, not a list",
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: MISTAKES[text])
def test_a_mistake_is_named_with_the_way_out(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_suite(text, "my.yaml")
    assert MISTAKES[text] in f"{caught.value.message} {caught.value.hint}"
    assert "my.yaml" in caught.value.where


def test_a_mistake_is_named_with_its_line_and_path() -> None:
    with pytest.raises(UsageError) as caught:
        parse_suite(TEST + "    assert:\n      - type: equals\n        valeu: x\n", "my.yaml")
    assert caught.value.where == "my.yaml, line 7 (tests[0].assert[0].valeu)"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such file"), (b"version: \xff", "not UTF-8"), (b"a: \x00", "not YAML")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "s.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        load_suite(path)
    assert str(path) in caught.value.where


def test_a_folder_is_no_suite(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_suite(tmp_path)


def test_the_committed_schema_is_the_one_the_loader_means() -> None:
    assert suite_schema() == SCHEMA, "run python -m ggship.evals.suite_schema > templates/schemas/suite.schema.json"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_accepts_what_the_loader_does() -> None:
    jsonschema.validate(yaml.safe_load(GOOD), SCHEMA)


# What only the whole of a suite shows, or a text within, is not for a schema to find.
BEYOND = (
    "twice",
    "two tests",
    "not YAML",
    "tabs",
    "quotes",
    "empty",
    "asserts nothing",
    "all weigh 0",
    "regular",
    "`name`",
    "gate",
    "pass_rate",
)
BEYOND += ("no turn before", "only the assistant", "1 to 2", "JSON Schema", "belongs here", "could hold", "latin")
BEYOND += ("scored test", "takes an", "ends with", "levels deep", "all assertions of", "no score")


@pytest.mark.parametrize(
    "text", [text for text, said in MISTAKES.items() if not any(word in said for word in BEYOND) and "&a" not in text]
)
def test_an_editor_sees_the_mistake_too(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_the_digest_follows_the_content_and_not_the_looks() -> None:
    one = parse_suite("version: 1\nname: a\ntests: [{prompt: Hi, id: x}]")
    same = parse_suite(
        "# a comment\nversion: 1\nname: b\ntests:\n  - id: x\n    messages: [{role: user, content: Hi}]\n"
    )
    other = parse_suite("version: 1\nname: a\ntests: [{prompt: Hi!, id: x}]")
    assert one.digest == same.digest != other.digest


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(str.strip)
checks = st.one_of(
    st.builds(Assertion, st.sampled_from(["contains", "not-icontains", "starts-with"]), texts, weight=st.floats(0, 9)),
    st.builds(Assertion, st.just("contains-all"), st.lists(texts, min_size=1, max_size=3).map(tuple), metric=texts),
    st.builds(Assertion, st.just("rouge-l"), texts, st.floats(0, 1), unit=st.sampled_from(["auto", "char", "jieba"])),
    st.builds(Assertion, st.just("is-json"), st.sampled_from([None, '{"properties":{"a":{"const":"{{x}}"}}}', "true"])),
    st.builds(Assertion, st.just("word-count"), st.sampled_from(["3", '{"max":2.5,"min":1}'])),
    st.builds(Assertion, st.just("latency"), threshold=st.floats(1, 1e6)),
)
sets = st.builds(
    lambda inner, threshold, metric: Assertion("assert-set", None, threshold, 2.0, metric, inner=inner),
    st.lists(checks, min_size=1, max_size=3).map(tuple).filter(lambda inner: any(one.weight for one in inner)),
    st.none() | st.floats(0, 1),
    st.just("") | texts,
)
cases = st.builds(
    lambda content, assertions, tags, options, threshold: Case(
        "x",
        (Message(role="user", content=content),),
        assertions,
        tags,
        1.0,
        options,
        threshold=threshold if any(one.weight for one in assertions) else None,
    ),
    texts | st.sampled_from(["{{x}}", r"\{{x}}", "{{{{", "a\n\n b:\t- #c", "no", "~", "12"]),
    st.lists(checks | sets, max_size=3).map(tuple),
    st.lists(texts, max_size=2).map(tuple),
    st.builds(
        ChatOptions,
        seed=st.integers(0, 9),
        num_ctx=st.none() | st.integers(1, 9),
        stop=st.just(("a",)),
        tools=st.sampled_from(
            [(), ({"type": "function", "function": {"name": "no", "parameters": {"x": [1, None]}}},)]
        ),
    ),
    st.none() | st.floats(0, 1),
)


CALLING = (
    Message(role="user", content="a"),
    Message(
        role="assistant",
        content="",
        tool_calls=({"id": "c", "type": "function", "function": {"name": "law", "arguments": '{"a": "{{x}}"}'}},),
    ),
    Message(role="tool", content="{{x}}", tool_call_id="c"),
)


@given(
    cases, st.sampled_from([(), ("pass_rate >= 0.5", "errors <= 0")]), st.sampled_from([(1, None), (3, None), (3, 2)])
)
@settings(deadline=None, max_examples=40)
def test_a_made_suite_survives_being_written(
    case: Case, gates: tuple[str, ...], repeat: tuple[int, int | None]
) -> None:
    other = replace(case, id="y", messages=CALLING, repeat=repeat[0], passes=repeat[1])
    suite = Suite("made", (case, other), gates, {"no-loops": 0.5})
    assert parse_suite(render_suite(suite)).digest == suite.digest


TAGGED = """
version: 1
gates: [pass_rate >= 1, metric.equals >= 1]
tests:
  - {id: a, prompt: A, tags: [zh, short], assert: [{type: equals, value: x}]}
  - {id: b, prompt: B, tags: [en], assert: [{type: contains, value: x}]}
  - {id: c, prompt: C}
"""


def test_tags_choose_among_the_tests() -> None:
    suite = parse_suite(TAGGED)
    assert keep_tagged(suite, ()) is suite
    assert [case.id for case in keep_tagged(suite, ["zh"]).cases] == ["a"]
    assert [case.id for case in keep_tagged(suite, ["en", "short"]).cases] == ["a", "b"]
    assert keep_tagged(suite, ["zh"]).digest != suite.digest
    with pytest.raises(UsageError, match="no test has the tag `zhh`") as caught:
        keep_tagged(suite, ["zhh"])
    assert caught.value.hint == "did you mean `zh`?"
    with pytest.raises(UsageError, match="nothing to observe in the tests with these tags"):
        keep_tagged(suite, ["en"])


def test_thousands_of_tests_are_read(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    tests = "".join(f"- {{prompt: 'q{n}', assert: [{{type: contains, value: a}}]}}\n" for n in range(3_000))
    path.write_text(f"version: 1\ntests:\n{tests}")
    assert len(load_suite(path).cases) == 3_000


def test_the_guide_names_every_assertion_and_gate() -> None:
    from ggship.evals.assertions import REGISTRY
    from ggship.evals.gates import KNOWN
    from ggship.evals.smoke import CHECKS

    guide = (Path(__file__).parents[2] / "docs" / "suite.md").read_text(encoding="utf-8")
    assert [name for name in (*REGISTRY, SET, *KNOWN, *CHECKS) if f"`{name}`" not in guide] == []


def test_what_stands_above_a_suite_breaks_nothing() -> None:
    suite = parse_suite("version: 1\ntests: [{prompt: Hi}]")
    text = render_suite(suite, "made of\x08 a\x85b\nand more")
    assert text.startswith("# made of  a\n# b\n# and more\n")
    assert parse_suite(text).digest == suite.digest
