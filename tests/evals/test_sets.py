"""Assertions in groups, and tests that pass from a score on: as promptfoo means them."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggship.errors import ServerError
from ggship.evals import from_json, to_json
from ggship.evals.graders import Graders, equip
from ggship.evals.html import render_html
from ggship.evals.instruments import Instruments
from ggship.evals.junit import to_junit
from ggship.evals.lint import outline
from ggship.evals.pace import times_matter
from ggship.evals.report_schema import report_schema
from ggship.runtimes.model import Answer

TWO_OF_THREE = """
version: 1
tests:
  - id: notice
    prompt: q
    assert:
      - type: assert-set
        threshold: 0.6
        metric: facts
        assert:
          - {type: contains, value: written}
          - {type: contains, value: landlord}
          - {type: contains, value: month, metric: time}
      - {type: not-contains, value: As an AI}
"""


@pytest.mark.parametrize(
    ("answer", "outcome", "score"),
    [
        ("written, by the landlord", "pass", (2 / 3 + 1) / 2),
        ("written, by the landlord, a month before", "pass", 1.0),
        ("written", "fail", (1 / 3 + 1) / 2),
        ("As an AI: written, by the landlord", "fail", (2 / 3) / 2),
    ],
)
def test_a_set_holds_from_its_threshold_on(
    run: Any, scripted: Any, suite: Any, answer: str, outcome: str, score: float
) -> None:
    report = run(suite(TWO_OF_THREE), scripted(otherwise=answer))
    result = report.cases[0].tuned
    assert (result.outcome, result.score) == (outcome, pytest.approx(score))
    group = result.checks[0]
    assert [check.passed for check in group.inner] == [word in answer for word in ("written", "landlord", "month")]
    assert group.reason.startswith(f"{sum(check.passed for check in group.inner)} of 3 hold")
    assert report.tuned.metrics["facts"] == group.score
    assert report.tuned.metrics["time"] == float("month" in answer)


def test_a_set_without_a_threshold_wants_each(run: Any, scripted: Any, suite: Any) -> None:
    questions = suite(TWO_OF_THREE.replace("        threshold: 0.6\n", ""))
    assert run(questions, scripted(otherwise="written, by the landlord")).cases[0].tuned.outcome == "fail"
    assert run(questions, scripted(otherwise="written, landlord, month")).cases[0].tuned.outcome == "pass"


def test_a_test_passes_from_its_score_on_whichever_assertions_hold(run: Any, scripted: Any, suite: Any) -> None:
    text = """
    version: 1
    defaults: {threshold: 0.5}
    tests:
      - {id: half, prompt: q, assert: [{type: contains, value: a}, {type: contains, value: z}]}
      - {id: strict, prompt: q, threshold: 0.51, assert: [{type: contains, value: a}, {type: contains, value: z}]}
      - {id: asked, prompt: q}
    """
    report = run(suite(text), scripted(otherwise="a"))
    seen = {case.id: (case.tuned.outcome, case.tuned.threshold) for case in report.cases}
    assert seen == {"half": ("pass", 0.5), "strict": ("fail", 0.51), "asked": ("pass", None)}


def test_what_cannot_be_judged_within_a_set_makes_the_case_an_error(run: Any, scripted: Any, suite: Any) -> None:
    """Even where the others suffice: an error is no pass."""

    class Broken:
        def verdict(self, *_: Any) -> Any:
            raise ServerError("the judge is gone")

    text = """
    version: 1
    tests:
      - prompt: q
        assert:
          - type: assert-set
            threshold: 0.1
            assert: [{type: contains, value: a}, {type: llm-rubric, value: is kind}]
    """
    report = run(suite(text), scripted(otherwise="a"), instruments=Instruments(judge=Broken()))
    assert (report.cases[0].tuned.outcome, report.cases[0].tuned.score) == ("error", None)
    assert "llm-rubric: the judge is gone" in report.cases[0].tuned.error
    assert not report.passed


def test_the_base_is_not_held_to_what_compares_with_it_in_a_set_either(run: Any, scripted: Any, suite: Any) -> None:
    text = """
    version: 1
    tests:
      - prompt: q
        assert: [{type: assert-set, assert: [{type: differs-from-base}, {type: contains, value: a}]}]
    """
    report = run(suite(text), scripted(otherwise="a b"), scripted(otherwise="a", label="base"))
    case = report.cases[0]
    assert case.base is not None
    assert (case.tuned.outcome, case.base.outcome) == ("pass", "pass")
    assert [[check.type for check in side.checks[0].inner] for side in (case.tuned, case.base)] == [
        ["differs-from-base", "contains"],
        ["contains"],
    ]


def test_repeats_count_within_sets(run: Any, scripted: Any, suite: Any) -> None:
    said = iter(["Hi", "written landlord", "written landlord", "written"])
    model = scripted()
    model.chat = lambda *_: Answer(next(said), "stop", 0.1)
    report = run(suite(TWO_OF_THREE.replace("    prompt: q\n", "    prompt: q\n    repeat: 3\n    passes: 2\n")), model)
    group = report.cases[0].tuned.checks[0]
    assert report.cases[0].tuned.outcome == "pass"
    assert group.reason.startswith("2 of 3 times")
    assert [check.reason.split(":")[0] for check in group.inner] == ["3 of 3 times", "2 of 3 times", "0 of 3 times"]


def test_reports_carry_sets(run: Any, scripted: Any, suite: Any) -> None:
    report = run(suite(TWO_OF_THREE), scripted(otherwise="written"))
    assert from_json(to_json(report)) == report
    jsonschema.validate(json.loads(to_json(report)), report_schema())
    for text in (render_html(report), to_junit(report)):
        assert "1 of 3 hold, score 0.33 of 0.6: lacks “landlord”; lacks “month”" in text
    shown = dict(outline(suite(TWO_OF_THREE)))["notice"]
    assert "≥ 0.6 of these\n    contains written" in shown


def test_a_report_of_before_there_were_sets_is_read(run: Any, scripted: Any, capitals: Any) -> None:
    report = run(capitals, scripted(), scripted(label="base"))
    document = json.loads(to_json(report))
    for case in document["cases"]:
        for side in (case["tuned"], case["base"]):
            del side["threshold"]
            for check in side["checks"]:
                del check["inner"]
    for name in ("delta_interval", "cases_needed"):
        del document["comparison"][name]
    read = from_json(json.dumps(document))
    assert read.cases == report.cases
    assert read.comparison.delta_interval is None


parts = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=1, max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(parts.filter(lambda rows: any(weight for _, weight in rows)), st.none() | st.floats(0, 1))
def test_one_set_is_a_test_with_its_threshold(
    run: Any, scripted: Any, suite: Any, rows: list[tuple[bool, float]], threshold: float | None
) -> None:
    """Law: a test whose only assertion is a set comes out as the test that holds its assertions and its threshold."""
    inner = [{"type": "contains", "value": "a" if holds else "z", "weight": weight} for holds, weight in rows]
    limit = {} if threshold is None else {"threshold": threshold}
    tests = [
        {"id": "set", "prompt": "q", "assert": [{"type": "assert-set", "assert": inner, **limit}]},
        {"id": "test", "prompt": "q", "assert": inner, **limit},
    ]
    grouped, plain = run(suite(yaml.safe_dump({"version": 1, "tests": tests})), scripted(otherwise="a")).cases
    assert grouped.tuned.outcome == plain.tuned.outcome
    assert grouped.tuned.score == pytest.approx(plain.tuned.score)


def test_what_stands_in_a_set_needs_what_it_needs_elsewhere(suite: Any) -> None:
    """A limit of time has questions asked one at a time, and Chinese words name what cut them."""
    text = """
    version: 1
    tests:
      - prompt: q
        assert:
          - type: assert-set
            assert: [{type: latency, threshold: 9000}, {type: rouge-l, value: 合同, unit: jieba, threshold: 0}]
    """
    questions = suite(text)
    assert times_matter(questions.cases, [])
    instruments, used = equip(questions, Graders())
    instruments.close()
    assert [one.kind for one in used] == ["words"]
