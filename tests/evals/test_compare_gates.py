from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggship.errors import BadFile, ServerError, UsageError
from ggship.evals import add_gates, from_json, to_json
from ggship.evals.compare import compare, score_side
from ggship.evals.gates import (
    HUMAN,
    HUMAN_AGAINST_BASE,
    KNOWN,
    LIKELY,
    number,
    observe,
    observed_text,
    parse_gate,
    verdict,
)
from ggship.evals.report import CaseReport, Gate, Result, SmokeCheck
from ggship.runtimes.model import Answer

outcomes = st.sampled_from(["pass", "fail", "error"])
results = st.builds(lambda outcome, score: Result(outcome, "x", "stop", score), outcomes, st.floats(0, 1))


def cases_of(pairs: list[tuple[Result, Result]]) -> list[CaseReport]:
    return [
        CaseReport(f"c{n}", (), tuned, base, changed=tuned.text != base.text) for n, (tuned, base) in enumerate(pairs)
    ]


def scores(cases: list[CaseReport]) -> Any:
    tuned = score_side([(case, case.tuned) for case in cases], label="t", model="t", digest=None)
    base = score_side([(case, case.base) for case in cases if case.base], label="b", model="b", digest=None)
    return tuned, base


@given(st.lists(st.tuples(results, results), max_size=30))
def test_every_judged_pair_is_won_lost_or_tied(pairs: list[tuple[Result, Result]]) -> None:
    cases = cases_of(pairs)
    compared = compare(cases, *scores(cases))
    assert len(compared.wins) + len(compared.losses) + compared.ties == compared.pairs
    assert set(compared.regressions) <= set(compared.losses)
    assert compared.pairs == sum("error" not in (left.outcome, right.outcome) for left, right in pairs)


@given(st.lists(st.tuples(results, results), max_size=30))
def test_turned_round_wins_are_losses(pairs: list[tuple[Result, Result]]) -> None:
    there, back = cases_of(pairs), cases_of([(right, left) for left, right in pairs])
    one, other = compare(there, *scores(there)), compare(back, *scores(back))
    assert one.wins == other.losses
    assert one.mcnemar_p == other.mcnemar_p
    assert one.delta_pass_rate is None or one.delta_pass_rate == pytest.approx(-(other.delta_pass_rate or 0.0))


def test_a_small_suite_warns(run: Any, scripted: Any, capitals: Any) -> None:
    report = run(capitals, scripted(otherwise="Paris, Tokyo, Cairo, Lima"))
    assert "only 4 cases were judged: the true pass rate may be anywhere from 51% to 100%" in report.warnings


def test_a_difference_that_may_be_chance_warns(run: Any, scripted: Any, suite: Any) -> None:
    tests = "".join(f"  - {{prompt: q{n}, assert: [{{type: contains, value: a}}]}}\n" for n in range(12))
    tuned, base = scripted(otherwise="a"), scripted({"q0": "no"}, otherwise="a")
    report = run(suite(f"version: 1\ntests:\n{tests}"), tuned, base)
    assert "may be chance" in report.warnings[0]


@pytest.mark.parametrize(
    ("text", "shown", "bound"),
    [
        ("pass_rate>=.9", "pass_rate >= .9", 0.9),
        (" pass_rate  >  90% ", "pass_rate > 90%", 0.9),
        ("delta_pass_rate > -0.1", "delta_pass_rate > -0.1", -0.1),
        ("metric.rouge-l >= 0.3", "metric.rouge-l >= 0.3", 0.3),
        ("regressions == 0", "regressions == 0", 0.0),
    ],
)
def test_gates_are_read(text: str, shown: str, bound: float) -> None:
    rule = parse_gate(text)
    assert (rule.rule, rule.bound) == (shown, pytest.approx(bound))


@pytest.mark.parametrize(
    "text",
    ["", "pass_rate", "pass_rate >= ", ">= 1", "pass_rate >= x", "pass_rate >= 1; 2", "a.b() > 1", "__import__ > 0"],
)
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_gate(text)


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        parse_gate("p95_latency_ration <= 2")
    assert caught.value.hint == "did you mean `p95_latency_ratio`?"
    with pytest.raises(UsageError) as caught:
        parse_gate("metric.rouge-1 >= 0.3", {"rouge-l"})
    assert caught.value.hint == "did you mean `metric.rouge-l`?"


@pytest.mark.parametrize(
    ("rule", "observed", "holds"),
    [
        ("x >= 0.1", 0.9 - 0.8, True),
        ("x > 0.1", 0.1 + 1e-12, False),
        ("x <= 0.3", 0.1 + 0.2, True),
        ("x < 0.3", 0.1 + 0.2, False),
        ("x == 0.3", 0.1 + 0.2, True),
        ("x != 0.3", 0.1 + 0.2, False),
        ("x >= 0.9", 0.89, False),
        ("x > 0", 1e-3, True),
        ("x < 2", 1.5, True),
        ("x <= 1.5", 1.6, False),
    ],
)
def test_rounding_decides_nothing(rule: str, observed: float, holds: bool) -> None:
    assert parse_gate(rule.replace("x", "pass_rate")).holds(observed) is holds


def test_every_metric_is_observed_with_a_base(run: Any, scripted: Any, capitals: Any) -> None:
    tuned = scripted({"France?": "Paris"}, seconds=1.0, otherwise=Answer("No.", "stop", 1.0, 9, 4, 0.2, 0.3))
    base = scripted(
        {"Japan?": "Tokyo"}, seconds=0.5, otherwise=Answer("No.", "stop", 0.5, 9, 4, 0.1, 0.3), label="base"
    )
    report = run(capitals, tuned, base)
    seen = observe(report)
    assert (seen["first_token_p50"], seen["first_token_p50_ratio"], seen["load_seconds"]) == (0.2, 2.0, 0.3)
    assert set(KNOWN) <= set(seen)
    assert {name for name, value in seen.items() if value is None} == LIKELY | {
        *HUMAN,
        *HUMAN_AGAINST_BASE,
    }  # see test_likelihood.py, test_humans.py
    assert (seen["p95_latency_ratio"], seen["regressions"], seen["delta_pass_rate"]) == (2.0, 1, 0.0)
    assert (seen["changed_rate"], seen["metric.contains"], seen["cases"]) == (0.5, 0.25, 4)


def test_gates_decide_with_what_was_observed(run: Any, scripted: Any, suite: Any) -> None:
    text = """
    version: 1
    gates: [pass_rate >= 0.5, regressions <= 0, p95_latency_ratio <= 1.5, changed_rate >= 20%]
    tests:
      - {id: a, prompt: a, assert: [{type: contains, value: x}]}
      - {id: b, prompt: b, assert: [{type: contains, value: x}]}
    """
    report = run(suite(text), scripted({"a": "x"}, seconds=2.0), scripted({"b": "x"}, seconds=1.0))
    by_rule = {gate.rule: gate for gate in report.all_gates}
    assert {rule: gate.passed for rule, gate in by_rule.items()} == {
        "pass_rate >= 0.5": True,
        "regressions <= 0": False,
        "p95_latency_ratio <= 1.5": False,
        "changed_rate >= 20%": True,
    }
    assert by_rule["p95_latency_ratio <= 1.5"].observed == 2.0
    low, high = by_rule["pass_rate >= 0.5"].interval
    assert low < 0.5 < high
    assert len(report.verdict.reasons) == 2


def test_gates_can_be_added_to_a_suite(run: Any, scripted: Any, capitals: Any) -> None:
    stricter = add_gates(capitals, ["score >= 2", "metric.contains > 0"])
    assert stricter.gates == ("pass_rate >= 1", "score >= 2", "metric.contains > 0")
    assert stricter.digest != capitals.digest
    with pytest.raises(UsageError, match=r"metric\.regex"):
        add_gates(capitals, ["metric.regex > 0"])


def test_a_gate_without_anything_to_observe_does_not_hold(run: Any, scripted: Any, suite: Any) -> None:
    report = run(suite("{version: 1, gates: [pass_rate >= 0], tests: [{prompt: q}]}"), scripted())
    assert not report.passed
    assert report.verdict.reasons == ("gate pass_rate >= 0: nothing to observe",)


@given(st.lists(st.booleans(), max_size=4), st.lists(st.booleans(), max_size=4), outcomes, st.integers(0, 3))
def test_the_verdict_needs_all_of_it(plain: list[bool], timed: list[bool], smoke: Any, errors: int) -> None:
    gates = [[Gate("pass_rate >= 1", 1.0, passed) for passed in row] for row in (plain, timed)]
    said = verdict(gates[0], gates[1], [SmokeCheck("stops", smoke, "r"), SmokeCheck("x", "skipped", "")], errors)
    assert said.passed == (all(plain) and all(timed) and smoke == "pass" and errors == 0)
    assert said.passed == (said.reasons == ())


def test_figures_never_look_whole_when_they_are_not() -> None:
    assert [number(value) for value in (1.0, 0.9, 1 / 3, 0.99999, 12.0, 0.000012)] == [
        "1",
        "0.9",
        "0.3333",
        "0.99999",
        "12",
        "1.2e-05",
    ]


def rates(report: Any) -> dict[str, tuple[float | None, bool]]:
    return {gate.rule: (gate.observed, gate.passed) for gate in report.all_gates}


def test_a_gate_can_ask_for_proof_and_not_for_luck(run: Any, scripted: Any, suite: Any) -> None:
    """All of four answers are right: 100 %, and yet no proof of 80 %."""
    text = "version: 1\ngates: [pass_rate >= 0.8, pass_rate.low >= 0.8, pass_rate.high >= 1, delta_pass_rate.low > 0]\n"
    questions = suite(
        text + "tests:\n" + "".join(f"  - {{prompt: q{n}, assert: [{{type: contains, value: a}}]}}\n" for n in range(4))
    )
    report = run(questions, scripted(otherwise="a"), scripted(otherwise="b"))
    seen = rates(report)
    assert seen["pass_rate >= 0.8"] == (1.0, True)
    assert seen["pass_rate.low >= 0.8"] == (report.tuned.interval[0], False)
    assert seen["pass_rate.high >= 1"] == (1.0, True)
    assert seen["delta_pass_rate.low > 0"] == (report.comparison.delta_interval[0], True)
    assert report.verdict.reasons == ("gate pass_rate.low >= 0.8: observed 0.5101",)
    assert observed_text(report.gates[1]) == "observed 0.5101; 95 %: 0.5101 to 1"


def test_a_gate_can_speak_of_a_tag(run: Any, scripted: Any, capitals: Any) -> None:
    questions = add_gates(replace(capitals, gates=()), ["tag.europe.pass_rate >= 1", "tag.europe.pass_rate.low > 0.5"])
    assert rates(run(questions, scripted({"France?": "Paris"}))) == {
        "tag.europe.pass_rate >= 1": (1.0, True),
        "tag.europe.pass_rate.low > 0.5": (pytest.approx(0.2065, abs=1e-4), False),
    }
    with pytest.raises(UsageError) as caught:
        add_gates(capitals, ["tag.europ.pass_rate >= 1"])
    assert caught.value.hint == "did you mean `europe`?"


def test_what_has_no_interval_has_no_ends() -> None:
    for rule in ("score.low > 0", "regressions.high < 1", "p95_latency.high < 2"):
        with pytest.raises(UsageError, match="has no interval"):
            parse_gate(rule)
    assert parse_gate("metric.my.low > 0").end == ""


def test_what_was_never_answered_holds_no_gate(run: Any, scripted: Any, suite: Any) -> None:
    """An error is neither a pass nor a fail: nothing that needs an answer is observed, and the model does not pass."""
    text = """
    version: 1
    gates: [fails <= 0, pass_rate >= 0, tag.x.pass_rate >= 0, p95_latency <= 1000, regressions <= 0]
    tests: [{prompt: q, tags: x, assert: [{type: contains, value: a}]}]
    """
    report = run(suite(text), scripted(otherwise=ServerError("it broke", status=500)), scripted(otherwise="a"))
    assert (report.tuned.passes, report.tuned.fails, report.tuned.errors) == (0, 0, 1)
    seen = rates(report)
    assert [seen[rule] for rule in ("pass_rate >= 0", "tag.x.pass_rate >= 0", "p95_latency <= 1000")] == [
        (None, False)
    ] * 3
    assert not report.passed


answered = st.sampled_from(["a", "b", ServerError("it broke", status=500)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(answered, answered), min_size=1, max_size=8),
    st.sampled_from(sorted(KNOWN)),
    st.sampled_from([">=", "<", "=="]),
    st.floats(-1, 9),
)
def test_the_verdict_is_what_its_parts_say_and_the_file_cannot_say_otherwise(
    run: Any, scripted: Any, suite: Any, pairs: list[tuple[Any, Any]], metric: str, sign: str, bound: float
) -> None:
    tests = "".join(f"  - {{prompt: q{n}, assert: [{{type: contains, value: a}}]}}\n" for n in range(len(pairs)))
    questions = suite(f"version: 1\ngates: ['{metric} {sign} {bound:.3f}']\ntests:\n{tests}")
    sides = [{f"q{n}": pair[side] for n, pair in enumerate(pairs)} for side in (0, 1)]
    report = run(questions, scripted(sides[0]), scripted(sides[1]))
    broken = any(isinstance(said, Exception) for pair in pairs for said in pair)
    bad = [gate for gate in report.all_gates if not gate.passed] + [
        c for c in report.smoke if c.outcome in ("fail", "error")
    ]
    assert report.passed is not (bool(bad) or broken)
    assert report.passed is not bool(report.verdict.reasons)
    text = to_json(report)
    assert from_json(text) == report
    turned = (
        text.replace('"passed": true,', '"passed": false,', 1)
        if report.passed
        else text.replace('"passed": false,', '"passed": true,', 1)
    )
    with pytest.raises(BadFile):
        from_json(turned)
