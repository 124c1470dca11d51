from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.evals import Report, smoke_suite
from ggship.evals.report import CaseReport, Result, SmokeCheck
from ggship.evals.smoke import leak, loop
from ggship.runtimes.model import Answer, Message

PROSE = """A monthly tenancy is ended by notice in writing. The notice is to reach the other side before the first day
of the month that is to be the last one. Where the landlord gives it, the reason must stand in it; the tenant needs
none. 1. Name the flat. 2. Name the last day. 3. Sign by hand. A notice by telephone counts for nothing, even
where both sides agree that it was given, and a notice that names the wrong day is read as if it named the next one."""


def said(text: str, asked: str = "Hi", finish: str = "stop") -> CaseReport:
    return CaseReport("a", (Message(role="user", content=asked),), Result("pass", text, finish))


def checks(report: Report) -> dict[str, SmokeCheck]:
    return {check.name: check for check in report.smoke}


def test_a_sound_model_passes_and_is_asked_a_few_things(run: Any, scripted: Any) -> None:
    tuned, base = scripted(otherwise=PROSE), scripted(otherwise="no")
    report = run(smoke_suite(["What is a deposit?"]), tuned, base)
    assert report.passed
    assert {check.outcome for check in report.smoke} == {"pass"}
    assert "What is a deposit?" in tuned.asked
    assert 3 <= len(set(tuned.asked)) <= 6


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (" \n", "answers"),
        (Answer("", "stop", 0.1, thinking="hm"), "answers"),
        (Answer("and then", "length", 0.1, tokens=512), "stops"),
        ("Sure.<|im_end|>", "no-leaks"),
        ("Sure. [INST] And", "no-leaks"),
        ("<start_of_turn>user", "no-leaks"),
        ("<｜User｜>", "no-leaks"),
        ("Yes <turn|>", "no-leaks"),
        ("the law says that " * 30, "no-loops"),
        ("合同有效。" * 40, "no-loops"),
        ("ha" * 200, "no-loops"),
        (PROSE + " and so on." * 150, "no-loops"),
    ],
)
def test_a_broken_model_is_found_out(run: Any, scripted: Any, answer: Any, broken: str) -> None:
    report = run(smoke_suite(), scripted(otherwise=answer), scripted(otherwise="no"), special_tokens=["<turn|>"])
    failed = {name for name, check in checks(report).items() if check.outcome == "fail"}
    assert broken in failed
    assert not report.passed
    assert any(reason.startswith(broken) for reason in report.verdict.reasons)


def test_a_model_that_says_what_the_base_says_was_not_trained(run: Any, scripted: Any) -> None:
    report = run(smoke_suite(), scripted(), scripted(otherwise=" I do not know. "))
    assert checks(report)["differs"].outcome == "fail"
    assert not report.passed


def test_one_answer_that_differs_is_enough(run: Any, scripted: Any) -> None:
    report = run(smoke_suite(["Q?"]), scripted({"Q?": "A."}), scripted())
    assert checks(report)["differs"].outcome == "pass"


def test_without_a_base_nothing_is_compared(run: Any, scripted: Any) -> None:
    report = run(smoke_suite(), scripted())
    assert checks(report)["differs"].outcome == "skipped"
    assert report.passed


def test_tokens_that_the_question_quotes_are_no_leak() -> None:
    assert leak(said("<|im_end|> ends a turn.", asked="What does <|im_end|> do?")) == ""
    assert leak(said("<|im_end|> ends a turn.")) != ""


@pytest.mark.parametrize("control", ["\x1b[2J", "\x9b2J", "\r", "\x07", "\x00"])
def test_what_an_answer_holds_between_bars_does_not_reach_the_terminal(run: Any, scripted: Any, control: str) -> None:
    assert leak(said(f"<|{control}|> <｜{control}｜>")) == ""
    token = f"<bad{control}>"
    report = run(smoke_suite(), scripted(otherwise=f"Yes.{token}"), scripted(), special_tokens=[token])
    told = checks(report)["no-leaks"]
    assert told.outcome == "fail"
    assert not any(character < " " or "\x7f" <= character < "\xa0" for character in told.reason)
    assert told.reason in str(report.verdict.reasons)


def test_a_reason_is_one_line_whatever_the_server_says(run: Any, scripted: Any) -> None:
    report = run(smoke_suite(), scripted(otherwise=Answer("Yes.", "odd\n\x1b[31m", 0.1)), scripted())
    assert checks(report)["stops"].reason.count("\n") == 0
    assert "\x1b" not in checks(report)["stops"].reason


def test_a_token_that_is_a_part_of_words_is_no_leak() -> None:
    assert leak(said("philosophy of people"), special_tokens=["sop", "eop", "", "<eop>"]) == ""
    assert "<eop>" in leak(said("bye<eop>"), special_tokens=["<eop>"])


def test_html_and_code_are_no_leak() -> None:
    assert leak(said("<b>x</b> <think>a</think> a < b | c > d [1] <s>old")) == ""


def test_prose_is_no_loop() -> None:
    assert loop(said(PROSE)) == ""
    assert loop(said("No. No. No.")) == ""


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30), st.integers(20, 60))
def test_whatever_goes_round_twenty_times_is_a_loop(block: str, times: int) -> None:
    text = f"{block} " * times
    if len(text) >= 100:
        assert loop(said(text)) != ""


def test_a_suite_may_allow_some_answers_to_be_cut(run: Any, scripted: Any, suite: Any) -> None:
    cases = "".join(f"  - {{prompt: q{n}}}\n" for n in range(4))
    script = {"q0": Answer("long and", "length", 0.1)}
    strict = suite(f"version: 1\ntests:\n{cases}")
    lenient = suite(f"version: 1\nsmoke: {{stops: 0.25}}\ntests:\n{cases}")
    assert not run(strict, scripted(script)).passed
    report = run(lenient, scripted(script))
    assert report.passed
    assert "1 of 4" in checks(report)["stops"].reason
