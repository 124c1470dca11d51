"""Judge, embedder and plugins: what else judges an answer, how it is asked, and how the report names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import ToolFailed, UsageError
from ggship.evals import parse_suite, to_json
from ggship.evals.assertions import REGISTRY
from ggship.evals.codec import from_json
from ggship.evals.graders import JUDGE_PROMPT, Graders, ModelJudge, equip, read_verdict
from ggship.evals.html import render_html
from ggship.evals.instruments import Instruments
from ggship.evals.plugins import load_plugins
from ggship.evals.report import Instrument

RUBRIC = "version: 1\ntests: [{id: a, prompt: Who pays?, assert: [{type: llm-rubric, value: names the tenant}]}]"


@pytest.mark.parametrize(
    ("said", "passed", "score"),
    [
        ('{"reason": "ok", "pass": true, "score": 0.8}', True, 0.8),
        ('Sure!\n```json\n{"reason": "ok", "pass": false, "score": 0.1}\n```', False, 0.1),
        ('{"pass": true}', True, 1.0),
        ('{"score": 0.4}', False, 0.4),
        ('{"a": {"b": 1}} then {"pass": true, "score": 1}', True, 1.0),
    ],
)
def test_a_verdict_is_read_however_the_judge_wraps_it(said: str, passed: bool, score: float) -> None:
    verdict = read_verdict(said)
    assert (verdict.passed, verdict.score) == (passed, score)


@pytest.mark.parametrize(
    "said", ["", "It is fine.", '{"pass": "maybe"}', '{"score": 7}', '{"pass": true, "score": true}']
)
def test_what_is_no_verdict_is_an_error(said: str) -> None:
    with pytest.raises(ToolFailed, match="verdict"):
        read_verdict(said)


def test_the_judge_decides_and_stands_in_the_report(run: Any, scripted: Any) -> None:
    class Judge(scripted):  # type: ignore[misc]
        def chat(self, messages: Any, options: Any) -> Any:
            asked = json.loads(messages[-1]["content"])
            assert messages[0]["content"] == JUDGE_PROMPT
            assert asked["conversation"][-1]["content"] == "Who pays?"
            self.script = {messages[-1]["content"]: json.dumps({"reason": "so", "pass": "tenant" in asked["answer"]})}
            return super().chat(messages, options)

    judge = ModelJudge(Judge(label="the-judge"))
    used = [Instrument("judge", "the-judge", "sha256:1", judge.prompt)]
    seen: list[str] = []
    report = run(
        parse_suite(RUBRIC),
        scripted(otherwise="The tenant."),
        scripted(otherwise="Nobody.", label="base"),
        instruments=Instruments(judge=judge),
        used=used,
        on_case=lambda done: seen.append(f"{done.side} {done.done}/{done.total}"),
    )
    assert (report.cases[0].tuned.outcome, report.cases[0].base.outcome) == ("pass", "fail")
    assert seen == ["base 1/3", "tuned 2/3", "judge 3/3"]
    assert from_json(to_json(report)) == report
    assert report.instruments == (used[0],)
    assert "You hold the answer of an assistant" in render_html(report)


def test_a_judge_that_says_nothing_of_use_proves_nothing(run: Any, scripted: Any) -> None:
    judge = ModelJudge(scripted(otherwise="Looks good to me!", label="judge"))
    report = run(parse_suite(RUBRIC), scripted(otherwise="x"), instruments=Instruments(judge=judge))
    assert report.cases[0].tuned.outcome == "error"
    assert "gave no verdict" in report.cases[0].tuned.error
    assert not report.passed


def test_an_answer_too_long_for_the_judge_is_an_error_and_not_cut(run: Any, scripted: Any) -> None:
    judge = scripted(label="judge")
    report = run(
        parse_suite(RUBRIC), scripted(otherwise="x" * 2_000_000), instruments=Instruments(judge=ModelJudge(judge))
    )
    assert "too long for the judge" in report.cases[0].tuned.error
    assert judge.asked == []


def test_a_judge_that_is_missing_is_said_before_anything_is_asked(run: Any, scripted: Any) -> None:
    tuned = scripted()
    with pytest.raises(UsageError, match="`llm-rubric` needs a judge"):
        run(parse_suite(RUBRIC), tuned)
    assert tuned.asked == []
    with pytest.raises(UsageError, match="needs a model to judge with") as caught:
        equip(parse_suite(RUBRIC), Graders())
    assert "--judge" in caught.value.hint


def test_the_judges_own_words_are_taken_from_a_file(tmp_path: Path) -> None:
    words = tmp_path / "judge.txt"
    words.write_text("Be strict.\n")
    graders = Graders("http://127.0.0.1:9/v1#judge", None, words)
    instruments, used = equip(parse_suite(RUBRIC), graders)
    assert isinstance(instruments.judge, ModelJudge)
    assert instruments.judge.prompt == used[0].prompt == "Be strict."
    assert used[0].name == "http://127.0.0.1:9/v1#judge"
    with pytest.raises(UsageError, match="cannot be read"):
        equip(parse_suite(RUBRIC), Graders("http://127.0.0.1:9/v1#judge", None, tmp_path / "no.txt"))


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    before = dict(REGISTRY)

    def write(body: str) -> Path:
        path = tmp_path / f"checks{len(list(tmp_path.iterdir()))}.py"
        path.write_text("from ggship.evals.assertions import Judgement, Subject, assertion\n" + body)
        return path

    yield write
    REGISTRY.clear()
    REGISTRY.update(before)


CITES = '@assertion("cites-law", "none", "names a paragraph")\ndef cites(subject):\n    return {}\n'
SUITE = "version: 1\ntests: [{prompt: q, assert: [{type: cites-law}]}, {prompt: r, assert: [{type: not-cites-law}]}]"


@pytest.mark.parametrize(
    "gives", ['"§" in subject.text', '1.0 if "§" in subject.text else -0.0', 'Judgement("§" in subject.text, 1.0, "x")']
)
def test_a_plugins_assertion_works_like_any_other(run: Any, scripted: Any, plugin: Any, gives: str) -> None:
    with pytest.raises(UsageError, match="unknown assertion `cites-law`") as caught:
        parse_suite(SUITE)
    assert "--plugins" in caught.value.hint
    body = CITES.format(gives)
    if "1.0 if" in gives:
        body = body.replace('"names a paragraph"', '"names a paragraph", threshold=0.5, threshold_is="score"')
    path = str(plugin(body))
    used = load_plugins([path])
    assert load_plugins([path]) == used
    report = run(parse_suite(SUITE), scripted({"q": "§ 5", "r": "none"}), used=used)
    assert [case.tuned.outcome for case in report.cases] == ["pass", "pass"]
    assert report.instruments[0].kind == "plugins"
    assert str(report.instruments[0].digest).startswith("sha256:")


@pytest.mark.parametrize(
    ("gives", "said"), [("1 / 0", "ZeroDivisionError"), ("None", "neither a Judgement"), ("3.5", "neither")]
)
def test_a_plugin_that_fails_is_an_error_of_the_case(
    run: Any, scripted: Any, plugin: Any, gives: str, said: str
) -> None:
    load_plugins([str(plugin(CITES.format(gives)))])
    report = run(parse_suite(SUITE), scripted(otherwise="x"))
    assert [case.tuned.outcome for case in report.cases] == ["error", "error"]
    assert said in report.cases[0].tuned.error


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("x = 1\n", "registers no assertion"),
        ("import nonesuch\n", "cannot be imported"),
        ("1 / 0\n", "the plugin fails: ZeroDivisionError"),
        (CITES.format("True").replace("cites-law", "equals"), "takes the name of another assertion: equals"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_said(plugin: Any, body: str, said: str) -> None:
    ours = REGISTRY["equals"]
    with pytest.raises(UsageError, match=said):
        load_plugins([str(plugin(body))])
    assert REGISTRY["equals"] is ours


def test_no_plugin_comes_from_a_suite() -> None:
    for key in ("plugins", "plugin", "import"):
        with pytest.raises(UsageError, match="unknown key"):
            parse_suite(f"version: 1\n{key}: [os]\ntests: [{{prompt: q}}]")
