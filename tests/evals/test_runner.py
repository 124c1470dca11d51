from __future__ import annotations

from typing import Any

import pytest

from ggship.errors import ServerError, ServerUnreachable, UsageError
from ggship.evals import parse_suite, to_json
from ggship.evals.codec import from_json
from ggship.evals.html import render_html
from ggship.evals.instruments import Instruments
from ggship.evals.patterns import Patterns
from ggship.evals.report import Prompt
from ggship.runtimes.model import Answer

RIGHT = {"France?": "Paris.", "Japan?": "Tokyo.", "Egypt?": "Cairo.", "Peru?": "Lima."}


def test_a_model_that_learned_passes_and_beats_its_base(run: Any, scripted: Any, capitals: Any) -> None:
    report = run(capitals, scripted(RIGHT), scripted({"France?": "Paris!"}, label="base"))
    assert report.passed
    assert report.verdict.reasons == ()
    assert (report.tuned.pass_rate, report.base.pass_rate) == (1.0, 0.25)
    assert report.comparison.wins == ("japan", "egypt", "peru")
    assert report.comparison.delta_pass_rate == 0.75
    assert [case.tuned.outcome for case in report.cases] == ["pass"] * 4


def test_one_wrong_answer_fails_the_default_gate(run: Any, scripted: Any, capitals: Any) -> None:
    report = run(capitals, scripted({**RIGHT, "Peru?": "Quito."}))
    assert not report.passed
    assert report.verdict.reasons == ("gate pass_rate >= 1: observed 0.75",)
    failed = next(case for case in report.cases if case.id == "peru")
    assert failed.tuned.checks[0].reason == "lacks “Lima”"


def test_each_model_is_asked_as_a_group_after_a_warm_up(run: Any, scripted: Any, capitals: Any) -> None:
    order: list[str] = []
    tuned, base = scripted(RIGHT), scripted(label="base")
    run(capitals, tuned, base, on_case=lambda done: order.append(f"{done.side} {done.done}/{done.total}"))
    assert order == [f"base {n}/8" for n in range(1, 5)] + [f"tuned {n}/8" for n in range(5, 9)]
    assert len(tuned.asked) == len(base.asked) == 5  # one warm-up each
    assert tuned.options[0].num_predict == 1


def test_a_model_under_a_passing_name_is_reported_under_its_own(run: Any, scripted: Any, capitals: Any) -> None:
    tuned, base = scripted(RIGHT, label="law:staging-1"), scripted(label="law:base-1")
    report = run(capitals, tuned, base, tuned_label="law-helper", base_label="SmolLM2")
    assert (report.tuned.label, report.base.label) == ("law-helper", "SmolLM2")
    assert "law:" not in to_json(report)
    assert run(capitals, tuned, base).tuned.label == "law:staging-1"


def test_the_warm_up_does_not_count_for_speed(run: Any, scripted: Any, capitals: Any) -> None:
    tuned = scripted({"Hi": Answer("x", "stop", 99.0, load_seconds=12.5), **RIGHT}, seconds=0.25)
    speed = run(capitals, tuned).timing.tuned
    assert (speed.p50_seconds, speed.p95_seconds, speed.load_seconds) == (0.25, 0.25, 12.5)
    assert set(speed.seconds) == {"france", "japan", "egypt", "peru"}


def test_options_and_system_reach_the_model(run: Any, scripted: Any, suite: Any) -> None:
    tuned = scripted()
    run(suite("{version: 1, defaults: {system: Be brief., options: {num_predict: 9}}, tests: [{prompt: q}]}"), tuned)
    assert tuned.systems == ["Be brief."]
    assert tuned.options[1].num_predict == 9


def test_an_error_is_neither_pass_nor_fail_and_loses_nothing(run: Any, scripted: Any, capitals: Any) -> None:
    script = {**RIGHT, "Japan?": ServerError("the server said no", status=500)}
    report = run(capitals, scripted(script))
    assert [case.tuned.outcome for case in report.cases] == ["pass", "error", "pass", "pass"]
    assert (report.tuned.pass_rate, report.errors) == (1.0, 1)
    assert not report.passed  # three of three passed, and yet: what was not seen is not proven
    assert "1 case ended in an error" in report.verdict.reasons[0]
    assert report.cases[1].tuned.error == "the server said no"


def test_a_base_that_errs_fails_the_verdict_too(run: Any, scripted: Any, capitals: Any) -> None:
    base = scripted({"Japan?": ServerError("no", status=500)}, label="base")
    report = run(capitals, scripted(RIGHT), base)
    assert not report.passed
    assert report.comparison.pairs == 3


@pytest.mark.parametrize("kind", ["unreachable", "broken"])
def test_a_server_that_dies_is_not_waited_for(run: Any, scripted: Any, suite: Any, kind: str) -> None:
    tests = "".join(f"  - {{id: c{n}, prompt: q{n}, assert: [{{type: contains, value: a}}]}}\n" for n in range(60))
    error = ServerUnreachable("nothing answers") if kind == "unreachable" else ServerError("the connection broke")
    tuned = scripted({f"q{n}": "a" if n < 37 else error for n in range(60)})
    report = run(suite(f"version: 1\ntests:\n{tests}"), tuned)
    assert report.tuned.passes == 37
    assert report.errors == 23
    assert len(tuned.asked) <= 1 + 37 + 4
    assert report.cases[-1].tuned.error.startswith("not asked: the server was gone at case c3")


def test_a_base_that_is_gone_does_not_lose_the_tuned_answers(run: Any, scripted: Any, capitals: Any) -> None:
    base = scripted(otherwise=ServerUnreachable("nothing answers"), label="base")
    report = run(capitals, scripted(RIGHT), base)
    assert report.tuned.passes == 4
    assert report.base.errors == 4
    assert base.asked == ["Hi", *["France?"] * 4]


def test_one_broken_connection_is_only_one_error(run: Any, scripted: Any, capitals: Any) -> None:
    report = run(capitals, scripted({**RIGHT, "France?": ServerError("the connection broke")}))
    assert (report.tuned.passes, report.errors) == (3, 1)


def test_an_endless_regex_is_an_error_of_its_case_alone(run: Any, scripted: Any, suite: Any) -> None:
    text = r"""
    version: 1
    tests:
      - {id: bad, prompt: q, assert: [{type: regex, value: '(a+)+$'}]}
      - {id: good, prompt: q, assert: [{type: regex, value: 'b$'}]}
    """
    quick = Instruments(patterns=Patterns(limit=0.3))
    report = run(suite(text), scripted(otherwise="a" * 40 + "b"), instruments=quick)
    assert [case.tuned.outcome for case in report.cases] == ["error", "pass"]
    assert report.cases[0].tuned.text.endswith("ab")
    assert "took longer" in report.cases[0].tuned.error


def test_gates_that_need_a_base_are_refused_before_anything_is_asked(run: Any, scripted: Any, suite: Any) -> None:
    tuned = scripted()
    text = "{version: 1, gates: [regressions <= 0], tests: [{prompt: q, assert: [{type: contains, value: a}]}]}"
    with pytest.raises(UsageError, match="needs the base"):
        run(suite(text), tuned)
    assert tuned.asked == []


def test_what_weighs_nothing_decides_nothing(run: Any, scripted: Any, suite: Any) -> None:
    report = run(
        suite(
            """
            version: 1
            tests:
              - prompt: France?
                assert:
                  - {type: contains, value: Paris}
                  - {type: contains, value: Lyon, weight: 0, metric: lyon}
              - {prompt: Mars?, weight: 0, assert: [{type: contains, value: none}]}
              - {prompt: Just asked}
            """
        ),
        scripted(RIGHT),
    )
    assert report.passed
    assert (report.tuned.passes, report.tuned.fails, report.tuned.pass_rate) == (1, 0, 1.0)
    assert report.tuned.metrics["lyon"] == 0.0
    assert report.cases[0].tuned.score == 1.0


def test_a_case_that_no_assertion_decides_is_not_passed(run: Any, scripted: Any, suite: Any) -> None:
    text = "version: 1\ntests: [{id: a, prompt: q, assert: [{type: contains, value: right, weight: 0}]}]\n"
    report = run(suite(text), scripted(otherwise="wrong"), scripted(otherwise="right", label="base"))
    assert (report.tuned.passes, report.tuned.pass_rate) == (0, None)
    assert (report.comparison.pairs, report.comparison.regressions) == (0, ())
    assert not report.cases[0].tuned.checks[0].passed, "it is recorded all the same"


def test_metrics_are_averaged_over_the_cases_that_are_judged(run: Any, scripted: Any, suite: Any) -> None:
    text = r"""
    version: 1
    gates: [metric.equals >= 0.5]
    tests:
      - {prompt: q1, assert: [{type: equals, value: right}]}
      - {prompt: q2, assert: [{type: equals, value: no}], weight: 0}
      - {prompt: q3, assert: [{type: equals, value: no}, {type: regex, value: '(a+)+$'}]}
    """
    quick = Instruments(patterns=Patterns(limit=0.3))
    report = run(suite(text), scripted({"q3": "a" * 40 + "b"}, otherwise="right"), instruments=quick)
    assert [case.tuned.outcome for case in report.cases] == ["pass", "fail", "error"]
    assert report.tuned.metrics == {"equals": 1.0}
    assert report.gates[0].observed == 1.0


def test_weights_shift_the_pass_rate(run: Any, scripted: Any, suite: Any) -> None:
    text = """
    version: 1
    gates: [pass_rate >= 0.75]
    tests:
      - {prompt: France?, weight: 3, assert: [{type: contains, value: Paris}]}
      - {prompt: Mars?, assert: [{type: contains, value: Olympus}]}
    """
    report = run(suite(text), scripted(RIGHT))
    assert report.tuned.pass_rate == 0.75
    assert report.passed


def test_lone_surrogates_do_not_stop_the_report(run: Any, scripted: Any, capitals: Any) -> None:
    report = run(capitals, scripted({**RIGHT, "France?": "Paris \ud83d\x00"}))
    assert report.cases[0].tuned.text == "Paris \ufffd\x00"


REPEATED = """
version: 1
gates: [pass_rate >= 0]
tests:
  - id: often
    prompt: q
    repeat: 3
    passes: 2
    options: {temperature: 1, seed: 7}
    assert: [{type: contains, value: a}]
"""


class BySeed:
    """Answers as the seed says."""

    label = model = "by-seed"

    def __init__(self, answers: dict[int, Any]) -> None:
        self.answers = answers

    def chat(self, messages: Any, options: Any) -> Answer:
        said = self.answers.get(options.seed, "warm")
        if isinstance(said, Exception):
            raise said
        return Answer(said, "stop", 0.5, tokens=1)

    def render(self, messages: Any) -> str | None:
        return None

    def digest(self) -> str | None:
        return None


@pytest.mark.parametrize(
    ("answers", "outcome", "score", "text"),
    [
        ({7: "a", 8: "b", 9: "a"}, "pass", 2 / 3, "a"),
        ({7: "a", 8: "b", 9: "b"}, "fail", 1 / 3, "b"),
        ({7: "a", 8: "a", 9: ServerError("broke", status=500)}, "error", None, ""),
    ],
)
def test_a_case_asked_often_passes_where_enough_answers_do(
    run: Any, suite: Any, answers: Any, outcome: str, score: float, text: str
) -> None:
    report = run(suite(REPEATED), BySeed(answers))
    result = report.cases[0].tuned
    assert (result.outcome, result.score, result.text) == (
        outcome,
        score if score is None else pytest.approx(score),
        text,
    )
    assert [one.text for one in result.attempts if one.outcome != "error"] == [
        said for said in answers.values() if isinstance(said, str)
    ]
    assert from_json(to_json(report)) == report
    if outcome != "error":
        assert report.tuned.metrics["contains"] == pytest.approx(score)
        assert result.checks[0].reason.startswith(f"{round(3 * score)} of 3 times: ")


def test_every_repeat_is_smoke_checked(run: Any, suite: Any) -> None:
    report = run(suite(REPEATED), BySeed({7: "a", 8: "a", 9: "a<|im_end|>"}))
    broken = next(check for check in report.smoke if check.name == "no-leaks")
    assert (broken.outcome, broken.cases) == ("fail", ("often",))


def test_differing_from_the_base_is_asked_of_the_tuned_model_alone(run: Any, scripted: Any, suite: Any) -> None:
    text = "{version: 1, gates: [pass_rate >= 1], tests: [{prompt: q, assert: [{type: differs-from-base}]}]}"
    same = run(suite(text), scripted(otherwise="old"), scripted(otherwise="old", label="base"))
    assert (same.cases[0].tuned.outcome, same.cases[0].base.outcome) == ("fail", "pass")
    new = run(suite(text), scripted(otherwise="new"), scripted(otherwise="old", label="base"))
    assert new.cases[0].tuned.outcome == "pass"
    with pytest.raises(UsageError, match="`differs-from-base` needs the base"):
        run(suite(text), scripted())


def test_half_a_character_in_a_call_does_not_stop_the_report(run: Any, scripted: Any, suite: Any) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "law", "arguments": '{"a": "\ud83d"}'}}
    text = "{version: 1, tests: [{prompt: q, assert: [{type: is-valid-openai-tools-call}]}]}"
    report = run(suite(text), scripted(otherwise=Answer("", "tool_calls", 0.5, tool_calls=(call,))))
    assert to_json(report).encode()
    assert report.cases[0].tuned.tool_calls[0]["function"]["arguments"] == '{"a": "\ufffd"}'


def test_a_call_of_a_tool_is_an_answer(run: Any, scripted: Any, suite: Any) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "law", "arguments": "{}"}}
    text = """
    version: 1
    defaults: {tools: [{name: law, parameters: {type: object}}]}
    tests: [{prompt: q, assert: [{type: is-valid-openai-tools-call}, {type: tool-call-f1, value: [law]}]}]
    """
    tuned = scripted(otherwise=Answer("", "tool_calls", 0.5, tool_calls=(call,)))
    report = run(suite(text), tuned)
    assert report.passed, report.verdict.reasons
    assert tuned.options[1].tools[0]["function"]["name"] == "law"
    assert from_json(to_json(report)) == report
    assert "calls <code>law</code>" in render_html(report)


def test_a_large_suite_is_run_and_reported(run: Any, scripted: Any) -> None:
    tests = "".join(
        f"- {{id: c{n}, prompt: q{n}, assert: [{{type: contains, value: a}}, {{type: regex, value: 'a'}}]}}\n"
        for n in range(1_000)
    )
    report = run(parse_suite(f"version: 1\ntests:\n{tests}"), scripted(otherwise="a"))
    assert report.tuned.passes == 1_000


class Rendering:
    """Tells how it renders, or fails at it."""

    label = model = "rendering"

    def __init__(self, prompt: Any) -> None:
        self.prompt = prompt

    def chat(self, messages: Any, options: Any) -> Answer:
        return Answer("yes", "stop", 0.5)

    def render(self, messages: Any) -> str | None:
        if isinstance(self.prompt, Exception):
            raise self.prompt
        return None if self.prompt is None else f"{self.prompt}{messages[-1]['content']}"

    def digest(self) -> str | None:
        return None


def test_the_report_holds_one_prompt_as_the_server_renders_it(run: Any, suite: Any) -> None:
    tools = "[{type: function, function: {name: look, parameters: {type: object}}}]"
    asked = suite(f"{{version: 1, tests: [{{id: t, prompt: a, tools: {tools}}}, {{id: q, prompt: b}}, {{prompt: c}}]}}")
    assert run(asked, Rendering("<|user|>")).prompt == Prompt("q", "<|user|>b")
    assert len(run(asked, Rendering("x" * 2_000_000)).prompt.text) == 20_000


@pytest.mark.parametrize("prompt", [None, ServerError("no such route", status=404)])
def test_a_server_that_does_not_tell_its_prompt_is_no_error(run: Any, suite: Any, prompt: Any) -> None:
    report = run(suite("{version: 1, tests: [{id: q, prompt: hm}]}"), Rendering(prompt))
    assert report.prompt is None
    assert report.errors == 0
