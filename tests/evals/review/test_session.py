"""One reviewer's view: blind, in a random order that is the same for all, and final once it is not blind any more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ggship.errors import Refused, UsageError
from ggship.evals.review.session import Session
from ggship.evals.review.store import Reviews

EMPTY = {"prefer": None, "marks": {}, "edits": {}, "comment": ""}


def first(session: Session) -> list[str]:
    """Which answers stand first, in order of the suite."""
    told = [session.case(number) for number in range(len(session.items))]
    by_id = {case["id"]: case["answers"][0]["pieces"][0][0][:4] for case in told}
    return [by_id[name] for name in sorted(by_id)]


def test_the_order_is_random_and_the_same_for_everybody(answers: Any, sit: Any) -> None:
    report = answers(30)
    anna, ben = sit(report), sit(report, "ben")
    order = [anna.case(n)["id"] for n in range(30)]
    assert order == [ben.case(n)["id"] for n in range(30)]
    assert order != [case.id for case in report.cases]
    assert sorted(order) == sorted(case.id for case in report.cases)


def test_which_answer_stands_first_is_drawn_for_each_reviewer_and_case(answers: Any, sit: Any) -> None:
    report = answers(200)
    anna, ben = first(sit(report)), first(sit(report, "ben"))
    assert anna == first(sit(report))
    for drawn in (anna, ben):
        assert 70 <= drawn.count("good") <= 130  # 4.2 standard deviations around 100
    assert 70 <= sum(one == other for one, other in zip(anna, ben, strict=True)) <= 130


def test_another_store_draws_otherwise(answers: Any, sit: Any, tmp_path: Any) -> None:
    report = answers(64)
    other = Session(report, Reviews("law", tmp_path / "other"), "anna", sit(report)._clock)
    assert first(sit(report)) != first(other)


def swapped(report: Any) -> Any:
    """The same answers, by the other model each."""
    cases = [replace(case, tuned=case.base, base=case.tuned) for case in report.cases]
    return replace(report, cases=tuple(cases))


def test_what_the_page_is_told_would_be_the_same_were_the_models_swapped(
    answers: Any, sit: Any, judge_all: Any, tmp_path: Any
) -> None:
    """Wherever the same answer happens to stand first, not one byte differs: so no byte tells whose it is."""
    told: list[dict[tuple[str, str], str]] = []
    for report in (answers(40, same=True), swapped(answers(40, same=True))):
        session = sit(report)
        judge_all(session, cases=len(session.items) - 1)
        assert not session.revealed
        cases = [{**session.case(n), "number": 0} for n in range(len(session.items))]
        by_sight = {(case["id"], case["answers"][0]["pieces"][0][0]): case for case in cases if case["mine"]["marks"]}
        told.append({key: json.dumps(case) for key, case in by_sight.items()})
        assert {key: value for key, value in session.state().items() if key != "cases"} == {
            "subject": "law",
            "reviewer": "anna",
            "done": 40,
            "revealed": False,
            "can_undo": True,
        }
    alike = told[0].keys() & told[1].keys()
    assert len(alike) > 8
    for key in alike:
        assert told[0][key] == told[1][key]


def test_the_figures_are_kept_back_until_all_is_judged(answers: Any, sit: Any, judge_all: Any) -> None:
    session = sit(answers(6))
    judge_all(session, cases=5)
    for ask in (session.rows, session.reveal):
        with pytest.raises(Refused, match="judge every case first"):
            ask()


def test_what_was_said_comes_back_where_it_was_said(answers: Any, sit: Any) -> None:
    session = sit(answers(8))
    for number, prefer in enumerate(["A", "B", "tie", None] * 2):
        said = {"prefer": prefer, "marks": {"A": "accept", "B": "edit"}, "edits": {"B": "so"}, "comment": f"n{number}"}
        kept = session.judge(number, said)
        assert kept["case"]["mine"] == said
        assert sit(session._report).case(number)["mine"] == said


def test_judgements_say_which_model_was_meant(answers: Any, sit: Any, reviews: Reviews, judge_all: Any) -> None:
    judge_all(sit(answers(20)), lambda number: "edit" if number % 2 else "accept")
    said = reviews.judgements()
    assert {one.prefer for one in said} == {"tuned"}
    assert {one.base_mark for one in said} == {"reject"}
    assert sorted({one.tuned_mark or "" for one in said}) == ["accept", "edit"]
    assert {one.tuned_edit.startswith("good") for one in said if one.tuned_mark == "edit"} == {True}
    assert {one.left for one in said} == {"tuned", "base"}


def test_once_told_nothing_can_be_changed(answers: Any, sit: Any, judge_all: Any) -> None:
    session = sit(answers(4))
    judge_all(session)
    assert session.state()["done"] == 4
    assert session.reveal()["state"]["revealed"]
    told = session.case(0)
    assert sorted(told["whose"]) == ["base", "tuned"]
    place = told["whose"].index("tuned")
    assert told["answers"][place]["pieces"][0][0].startswith("good")
    with pytest.raises(Refused, match="final"):
        session.judge(0, EMPTY)
    with pytest.raises(Refused):
        session.undo()
    assert dict(session.rows())["accepted"].startswith("100 %")


def test_new_answers_are_blind_again(answers: Any, sit: Any, judge_all: Any) -> None:
    session = sit(answers(4))
    judge_all(session)
    session.reveal()
    again = sit(answers(4, retrained=2))
    assert (again.state()["done"], again.state()["revealed"]) == (2, False)
    assert sum("whose" in again.case(n) for n in range(4)) == 0
    assert sum(again.case(n)["final"] for n in range(4)) == 2
    judge_all_open = [n for n, letter in enumerate(again.state()["cases"]) if letter == "-"]
    for number in judge_all_open:
        again.judge(number, {**EMPTY, "prefer": "A", "marks": {"A": "accept", "B": "accept"}})
    again.reveal()
    assert again.state()["revealed"]


def test_undo_goes_back_step_by_step_and_to_the_case(answers: Any, sit: Any) -> None:
    session = sit(answers(3))
    session.judge(1, {**EMPTY, "prefer": "A"})
    session.judge(1, {**EMPTY, "prefer": "A", "marks": {"A": "accept"}})
    session.judge(2, {**EMPTY, "comment": "hm"})
    assert session.state()["cases"] == "-pp"
    back = session.undo()
    assert (back["case"]["number"], back["state"]["cases"]) == (2, "-p-")
    assert session.undo()["case"]["mine"]["marks"] == {}
    assert session.undo()["state"] == {**session.state(), "cases": "---", "can_undo": False}
    with pytest.raises(Refused):
        session.undo()


def test_saying_the_same_again_is_nothing_to_undo(answers: Any, sit: Any, reviews: Reviews) -> None:
    session = sit(answers(1))
    for _ in range(3):
        session.judge(0, {**EMPTY, "prefer": "tie"})
    assert len(reviews.judgements()) == 1


def test_one_answer_is_judged_alone(answers: Any, sit: Any) -> None:
    for report, count in ((answers(1, base=False), 1), (answers(0, same=True), 1)):
        session = sit(report)
        told = session.case(0)
        assert len(told["answers"]) == count
        with pytest.raises(UsageError):
            session.judge(0, {**EMPTY, "prefer": "A"})
        with pytest.raises(UsageError):
            session.judge(0, {**EMPTY, "marks": {"B": "accept"}})
        assert session.judge(0, {**EMPTY, "marks": {"A": "accept"}})["state"]["cases"] == "d"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {**EMPTY, "more": 1},
        {**EMPTY, "prefer": "tuned"},
        {**EMPTY, "marks": ["A"]},
        {**EMPTY, "marks": {"tuned": "accept"}},
        {**EMPTY, "marks": {"A": "good"}},
        {**EMPTY, "marks": {"A": "edit"}},
        {**EMPTY, "marks": {"A": "edit"}, "edits": {"A": "  "}},
        {**EMPTY, "marks": {"A": "edit"}, "edits": {"A": 7}},
        {**EMPTY, "comment": None},
        {**EMPTY, "comment": "x" * 200_001},
    ],
)
def test_what_is_no_judgement_is_refused(answers: Any, sit: Any, reviews: Reviews, said: Any) -> None:
    session = sit(answers(1))
    with pytest.raises(UsageError):
        session.judge(0, said)
    assert reviews.judgements() == ()


def test_an_edit_that_changes_nothing_is_refused(answers: Any, sit: Any) -> None:
    session = sit(answers(1))
    with pytest.raises(UsageError, match="another"):
        session.judge(0, {**EMPTY, "marks": {"A": "edit"}, "edits": {"A": session.answer(0, "A") + "\n"}})


def test_two_pages_of_one_reviewer_see_each_other(answers: Any, sit: Any) -> None:
    report = answers(2)
    one, other = sit(report), sit(report)
    one.judge(0, {**EMPTY, "prefer": "A"})
    assert other.state()["cases"] == "p-"


def test_the_chat_draws_anew_for_each_conversation(answers: Any, sit: Any) -> None:
    session = sit(answers(1))
    drawn = [session.first_of(f"talk {n}") for n in range(200)]
    assert 70 <= drawn.count("tuned") <= 130
    assert drawn == [session.first_of(f"talk {n}") for n in range(200)]


def test_what_cannot_be_seen_is_made_visible(run: Any, scripted: Any, suite: Any, sit: Any) -> None:
    report = run(suite("{version: 1, tests: [{prompt: q}]}"), scripted(otherwise="a\u202eb\x1b[31m"))
    assert sit(report).case(0)["answers"][0]["pieces"] == [
        ["a", False],
        ["U+202E", True],
        ["b", False],
        ["U+001B", True],
        ["[31m", False],
    ]
