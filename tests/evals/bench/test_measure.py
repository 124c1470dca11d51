"""Load on a server whose speed and faults are known."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ggship.errors import ServerError, UsageError


def test_rates_are_those_that_the_server_itself_sees(stand_in: Any, measure: Any) -> None:
    stand_in.token_seconds = 0.006
    report = measure(1, 4, duration=0.8)
    one, four = report.levels
    # What it served by its own clock, over the time it took; the warm-up is at both ends of that.
    seen = (len(stand_in.served) - 1) / (stand_in.served[-1] - stand_in.served[0])
    for level in (one, four):
        assert level.requests_per_s == pytest.approx(seen, rel=0.25)
        assert level.tokens_per_s == pytest.approx(level.requests_per_s * stand_in.tokens, rel=0.15)
        assert level.errors == 0
        assert level.counted_by == "server"
        assert level.first_token.p50 < level.latency.p50
    assert len(stand_in.asked) == len(stand_in.served)
    # It serves one at a time: four wait, and the rate is the same.
    assert four.latency.p50 == pytest.approx(4 * one.latency.p50, rel=0.35)
    assert four.waiting.p50 > 0.6 * four.latency.p50
    assert one.waiting.p50 < 0.3 * one.latency.p50


def test_every_way_to_fail_is_counted_by_its_name_and_none_is_an_answer(stand_in: Any, measure: Any) -> None:
    stand_in.faults = ["", "busy", "limited", "broken", "dropped", "midway", "", "inside", "no end", "empty", ""]
    report = measure(1, max_requests=10, duration=30.0, pause=0.01)
    (level,) = report.levels
    assert {one.kind: one.count for one in level.failures} == {
        "busy": 1,
        "limited": 1,
        "http 500": 1,
        "broken off": 3,
        "error inside": 1,
        "empty": 1,
    }
    assert "maximum pending requests exceeded" in next(one.example for one in level.failures if one.kind == "busy")
    assert (level.answers, level.errors) == (2, 8)
    assert level.error_rate == pytest.approx(0.8)
    assert report.stopped == ""


def test_a_server_that_is_busy_is_not_asked_again_at_once(stand_in: Any, measure: Any) -> None:
    stand_in.always = "busy"
    began = time.perf_counter()
    report = measure(2, duration=1.2)
    spent = time.perf_counter() - began
    (level,) = report.levels
    assert level.answers == 0
    assert level.latency is None
    assert level.error_rate == 1
    assert len(stand_in.asked) <= 1 + 2 * (spent / 0.5 + 1)  # each of the two pauses


def test_an_answer_that_takes_too_long_is_a_timeout_however_it_does(stand_in: Any, measure: Any) -> None:
    stand_in.faults = ["", "silent", "forever", ""]
    report = measure(1, timeout=0.3, max_requests=3, duration=30.0, pause=0.01)
    (level,) = report.levels
    assert [(one.kind, one.count) for one in level.failures] == [("timeout", 2)]
    assert level.answers == 1
    assert level.latency.slowest < 0.3


def test_a_server_that_dies_ends_the_measurement_and_what_it_gave_is_kept(stand_in: Any, measure: Any) -> None:
    stand_in.faults = [""] * 30 + ["dropped"] * 100
    report = measure(1, 2, duration=20.0, pause=0.01)
    assert report.stopped == "server gone"
    assert [level.concurrency for level in report.levels] == [1]
    assert report.levels[0].answers >= 20
    assert report.levels[0].failures[0].count == 3
    assert "the server was gone; not measured: 2 at once" in report.notes[0]


def test_the_time_limit_holds_for_all_levels_together(stand_in: Any, measure: Any) -> None:
    began = time.perf_counter()
    report = measure(1, 2, 3, duration=0.5, limit=0.8, gates=("error_rate <= 0", "c1.error_rate <= 0"))
    assert time.perf_counter() - began < 2
    assert report.stopped == "time limit"
    assert 1 <= len(report.levels) < 3
    # What was not measured is proven by nobody.
    everywhere, first = report.gates
    assert (everywhere.passed, everywhere.observed) == (False, None)
    assert first.passed
    assert report.passed is False


def test_so_many_requests_and_not_many_more(stand_in: Any, measure: Any) -> None:
    report = measure(4, max_requests=8, duration=30.0)
    (level,) = report.levels
    assert 8 <= level.answers <= 8 + 4
    assert len(stand_in.asked) < 60  # the first one, the warm-up, those counted, those under way


def test_the_first_answers_of_a_level_do_not_count(stand_in: Any, measure: Any) -> None:
    stand_in.faults = ["limited"] * 2
    (level,) = measure(2, max_requests=4, duration=30.0).levels
    assert level.errors == 0


def test_a_level_begins_when_every_stream_is_warm(stand_in: Any, measure: Any) -> None:
    stand_in.faults = ["silent"]  # the first answer of one of them takes 1.2 s
    report = measure(2, duration=0.5, pause=0.01)
    assert report.seconds > 1.6
    assert report.levels[0].errors == 0


def test_questions_share_no_beginning_so_that_the_prompt_cache_does_not_flatter(stand_in: Any, measure: Any) -> None:
    measure(1, max_requests=10, duration=30.0)
    beginnings = [body["messages"][0]["content"][:6] for body in stand_in.asked]
    assert len(set(beginnings)) == len(beginnings)
    stand_in.asked.clear()
    measure(1, max_requests=10, duration=30.0, marked=False)
    assert len({body["messages"][0]["content"] for body in stand_in.asked}) == 8


def test_another_measurement_does_not_ask_the_questions_of_the_last(stand_in: Any, measure: Any) -> None:
    measure(1, max_requests=2, duration=30.0)
    time.sleep(1.1)  # the mark is made of the second in which it began
    measure(1, max_requests=2, duration=30.0)
    asked = [body["messages"][0]["content"] for body in stand_in.asked]
    assert len(set(asked)) == len(asked)


def test_the_openai_dialect_is_measured_by_what_it_counts(stand_in: Any, measure: Any) -> None:
    report = measure(2, path="/v1")
    (level,) = report.levels
    assert level.errors == 0
    assert level.tokens_per_s == pytest.approx(level.requests_per_s * 7, rel=0.15)  # its usage, not its 5 pieces
    assert level.first_token.p50 < level.latency.p50
    assert level.waiting is None


def test_done_after_an_answer_that_broke_off_is_no_end(stand_in: Any, measure: Any) -> None:
    stand_in.faults = ["", "no end", "no usage", ""]
    report = measure(1, path="/v1", max_requests=3, duration=30.0, pause=0.01)
    (level,) = report.levels
    assert [(one.kind, one.count) for one in level.failures] == [("broken off", 1)]
    assert level.counted_by == "pieces"
    assert "the server counts no tokens: every piece that it sent counts as one" in report.notes


def test_a_key_that_the_server_repeats_is_in_no_report(stand_in: Any, measure: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("GGSHIP_API_KEY", "sk-planted-marker")
    stand_in.faults = ["", "broken", ""]
    report = measure(1, path="/v1", max_requests=2, duration=30.0)
    assert report.levels[0].failures[0].kind == "http 500"
    assert "sk-planted" not in str(report)


def test_a_first_question_that_fails_ends_it_with_the_servers_words(stand_in: Any, measure: Any) -> None:
    stand_in.close()
    with pytest.raises(ServerError, match="nothing answers"):
        measure(1)


@pytest.mark.parametrize(
    ("gate", "hint"),
    [
        ("p95_latncy <= 2", "p95_latency"),
        ("c3.p95_latency <= 2", "--concurrency 1,3"),
        ("p95_latency", "pass_rate"),
        ("pass_rate >= 1", "rate"),
    ],
)
def test_a_gate_that_cannot_be_observed_is_refused_before_anything_is_asked(
    stand_in: Any, measure: Any, gate: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        measure(1, gates=(gate,))
    assert hint in caught.value.hint
    assert stand_in.asked == []
