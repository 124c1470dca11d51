"""The figures over what people said, against the formulas of the field written out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.evals import as_document, from_json, to_json
from ggship.evals.agreement import cohen_kappa
from ggship.evals.gates import HUMAN, HUMAN_AGAINST_BASE, judge_gates, observe, parse_gate
from ggship.evals.humans import Item, Judgement, humans, items_of
from ggship.evals.report import CaseReport, Result
from ggship.evals.stats import wilson
from ggship.runtimes.model import Message, ToolCall

MARKS = ("accept", "edit", "reject")
labels = st.sampled_from(MARKS)
pairs = st.lists(st.tuples(labels, labels), min_size=1, max_size=40)


def kappa_by_hand(pairs: list[tuple[str, str]]) -> float:
    """1 - observed disagreement over expected disagreement, from the confusion matrix: scikit-learn's way."""
    names = sorted({name for pair in pairs for name in pair})
    matrix = [[sum(pair == (row, column) for pair in pairs) for column in names] for row in names]
    rows, columns = [sum(row) for row in matrix], [sum(row[n] for row in matrix) for n in range(len(names))]
    seen = sum(matrix[r][c] for r in range(len(names)) for c in range(len(names)) if r != c)
    chance = sum(rows[r] * columns[c] / len(pairs) for r in range(len(names)) for c in range(len(names)) if r != c)
    return 1 - seen / chance


@given(pairs)
def test_kappa_is_that_of_the_field(pairs: list[tuple[str, str]]) -> None:
    if any(left != right for left, right in pairs):
        assert cohen_kappa(pairs) == pytest.approx(kappa_by_hand(pairs), abs=1e-12)


@given(pairs)
def test_kappa_is_symmetric_and_bounded(pairs: list[tuple[str, str]]) -> None:
    kappa = cohen_kappa(pairs)
    assert kappa is not None
    assert kappa == cohen_kappa([(right, left) for left, right in pairs])
    assert -1 <= kappa <= 1


@given(st.lists(labels, min_size=1, max_size=40))
def test_kappa_of_equal_judgements_is_one(said: list[str]) -> None:
    assert cohen_kappa([(one, one) for one in said]) == 1.0


def test_kappa_by_numbers() -> None:
    # Cohen's textbook table: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no.
    table = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohen_kappa(table) == pytest.approx(0.4)
    assert cohen_kappa([("y", "n"), ("n", "y")]) == pytest.approx(-1)
    assert cohen_kappa([]) is None


def case(number: int, tuned: str = "", base: str | None = "") -> CaseReport:
    answers = [Result("pass", text, "stop") for text in (tuned or f"tuned {number}", (base or f"base {number}"))]
    messages = (Message(role="user", content=f"q{number}"),)
    return CaseReport(f"c{number}", messages, answers[0], None if base is None else answers[1])


def judged(item: Item, reviewer: str, mark: Any = "accept", base: Any = "reject", prefer: Any = "tuned") -> Judgement:
    return Judgement(
        reviewer,
        item.id,
        item.question,
        item.tuned_digest,
        item.base_digest,
        prefer,
        mark,
        base,
        tuned_edit="better" if mark == "edit" else "",
    )


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), labels), max_size=4), min_size=1, max_size=12))
def test_each_case_counts_once_however_many_read_it(table: list[list[tuple[int, Any]]]) -> None:
    cases = [case(n) for n in range(len(table))]
    items = items_of(cases)
    said = [judged(item, f"r{who}", mark) for item, row in zip(items, table, strict=True) for who, mark in row]
    found = humans(cases, said)
    last = [list(dict(row).values()) for row in table if row]
    assert (found.cases, found.read) == (len(cases), len(last))
    if not last:
        assert found.accept is None
        return
    assert found.accept is not None
    assert found.edit is not None
    assert found.reject is not None
    by_hand = sum(row.count("accept") / len(row) for row in last) / len(last)
    assert found.accept.value == pytest.approx(by_hand)
    assert found.accept.interval == pytest.approx(wilson(by_hand, len(last)))
    assert found.accept.value + found.edit.value + found.reject.value == pytest.approx(1)


def test_a_tie_counts_half_and_the_same_answer_is_a_tie() -> None:
    cases = [case(1), case(2), case(3), case(4, tuned="same", base=" same\n")]
    items = items_of(cases)
    said = [
        judged(item, "anna", base=None if item.alike else "reject", prefer=prefer)
        for item, prefer in zip(items, ("tuned", "tie", "base", None), strict=True)
    ]
    found = humans(cases, said)
    assert found.prefer_tuned is not None
    assert found.prefer_tuned.value == pytest.approx((1 + 0.5 + 0 + 0.5) / 4)
    assert (found.pairs, found.preferred) == (4, 4)
    assert found.base_accept is not None
    assert found.base_accept.value == pytest.approx(0.25)  # the answer that both gave was accepted, so the base's was


def test_of_two_the_agreement_is_cohens_kappa_and_of_more_the_mean_named_so() -> None:
    cases = [case(n) for n in range(12)]
    items = items_of(cases)
    marks = {
        "anna": ["accept", "reject", "accept"] * 4,
        "ben": ["accept", "accept", "reject"] * 4,
        "cleo": ["accept", "reject", "edit"] * 4,
    }
    said = [judged(item, who, mark) for who, row in marks.items() for item, mark in zip(items, row, strict=True)]
    two = humans(cases, [one for one in said if one.reviewer != "cleo"]).agreement
    assert two is not None
    assert (two.method, two.judgements) == ("Cohen's kappa", 12)
    assert two.kappa == pytest.approx(kappa_by_hand(list(zip(marks["anna"], marks["ben"], strict=True))))
    three = humans(cases, said).agreement
    assert three is not None
    assert three.method == "mean of 3 pairwise Cohen's kappas"
    by_hand = [
        kappa_by_hand(list(zip(marks[a], marks[b], strict=True)))
        for a, b in (("anna", "ben"), ("anna", "cleo"), ("ben", "cleo"))
    ]
    assert three.kappa == pytest.approx(sum(by_hand) / 3)


def test_agreement_over_too_few_cases_is_none() -> None:
    cases = [case(n) for n in range(12)]
    items = items_of(cases)
    said = [judged(item, who) for who in ("anna", "ben") for item in items[:9]]
    assert humans(cases, said).agreement is None
    assert humans(cases, [*said, judged(items[9], "anna"), judged(items[9], "ben")]).agreement is not None


def test_judgements_of_other_answers_do_not_count_and_are_said() -> None:
    before, now = [case(n) for n in range(3)], [case(0), case(1, tuned="retrained"), case(2, base="another base")]
    said = [judged(item, "anna", prefer="base") for item in items_of(before)]
    found = humans(now, said)
    assert (found.read, found.of_other_answers) == (2, 1)
    # What was said of the tuned answer holds beside another base; which one is better does not.
    assert found.preferred == 1


def test_the_last_word_holds() -> None:
    (item,) = items_of([case(1)])
    found = humans([case(1)], [judged(item, "anna", "accept"), judged(item, "anna", "reject"), judged(item, "ben")])
    assert found.accept is not None
    assert found.accept.value == 0.5
    taken_back = replace(judged(item, "anna"), tuned_mark=None, prefer=None, base_mark=None)
    assert humans([case(1)], [judged(item, "anna"), taken_back]).read == 0


def test_cases_without_an_answer_are_not_read_and_calls_of_tools_are() -> None:
    call = ToolCall(id="1", type="function", function={"name": "look", "arguments": '{"at": 1}'})
    lost, mute = Result("error", error="gone"), Result("fail", "", "stop", tool_calls=(call,))
    cases = [replace(case(1), tuned=lost), replace(case(2), base=lost), replace(case(3), tuned=mute)]
    items = items_of(cases)
    assert [(item.id, item.sides) for item in items] == [("c2", 1), ("c3", 2)]
    assert items[1].tuned == '[calls look {"at": 1}]'


@pytest.fixture
def twelve(run: Any, scripted: Any, suite: Any) -> Any:
    """twelve(read, reject): a report of 12 cases of which so many were read, and of these so many rejected."""
    tests = "".join(f"  - {{prompt: q{n}, assert: [{{type: contains, value: yes}}]}}\n" for n in range(12))

    def make(read: int, reject: int = 0, **more: Any) -> Any:
        def people(cases: Any) -> Any:
            items = items_of(cases)[:read]
            marks = ["reject"] * reject + ["accept"] * (read - reject)
            return humans(
                cases, [judged(item, who, mark) for item, mark in zip(items, marks, strict=True) for who in "ab"]
            )

        return run(
            suite(f"version: 1\n{more.pop('gates', '')}\ntests:\n{tests}"),
            scripted(otherwise="yes"),
            scripted(),
            people=people,
        )

    return make


def test_every_human_metric_is_observed_where_people_read_enough(twelve: Any) -> None:
    seen = observe(twelve(12, reject=3))
    assert {name: seen[name] for name in (*HUMAN, *HUMAN_AGAINST_BASE)} == {
        "human.accept": pytest.approx(0.75),
        "human.edit": 0.0,
        "human.reject": pytest.approx(0.25),
        "human.kappa": 1.0,
        "human.reviewed": 1.0,
        "human.reviewers": 2,
        "human.prefer_tuned": 1.0,
        "human.prefer_kappa": 1.0,
    }


def test_a_rate_over_too_few_cases_is_no_rate(twelve: Any) -> None:
    report = twelve(9)
    (few, reviewed) = judge_gates([parse_gate("human.accept >= 0.1"), parse_gate("human.reviewed >= 75%")], report)
    assert (few.observed, few.passed) == (None, False)
    assert (reviewed.observed, reviewed.passed) == (0.75, True)
    (enough,) = judge_gates([parse_gate("human.accept >= 0.1")], twelve(10))
    assert enough.passed
    assert enough.interval == pytest.approx(wilson(1, 10))


def test_gates_of_people_decide_an_evaluation(twelve: Any) -> None:
    gates = "gates: [human.accept >= 0.8, human.reviewers >= 2]"
    assert twelve(12, reject=2, gates=gates).passed
    failed = twelve(12, reject=3, gates=gates)
    assert failed.verdict.reasons == ("gate human.accept >= 0.8: observed 0.75",)
    unread = twelve(0, gates=gates)
    assert unread.verdict.reasons[0] == "gate human.accept >= 0.8: too few of them were read (ggship review)"
    assert unread.humans is not None


def test_a_report_keeps_what_people_found(twelve: Any) -> None:
    report = twelve(12, reject=3)
    assert from_json(to_json(report)) == report
    assert as_document(report)["humans"]["accept"]["value"] == pytest.approx(0.75)
    assert twelve(0).humans is None


def test_a_report_from_before_there_were_people_is_read(twelve: Any) -> None:
    import json

    document = as_document(twelve(0))
    del document["humans"]
    assert from_json(json.dumps(document)).humans is None


def test_a_preference_needs_a_base(run: Any, scripted: Any, suite: Any) -> None:
    with pytest.raises(Exception, match="needs the base"):
        run(suite("{version: 1, gates: [human.prefer_tuned > 0.5], tests: [{prompt: q}]}"), scripted())
