"""Several questions at a time, where that changes nothing but how long it takes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from ggship.errors import ServerError, ServerUnreachable
from ggship.evals import to_json
from ggship.runtimes.embedded import EmbeddedEndpoint
from ggship.runtimes.endpoints import OpenAIEndpoint
from ggship.runtimes.model import Answer

TESTS = "".join(f"- {{id: c{n}, prompt: q{n}, assert: [{{type: contains, value: a}}]}}\n" for n in range(24))
SUITE = f"version: 1\ntests:\n{TESTS}"


class Crowded:
    """Counts how many ask at a time; the later a question, the sooner its answer."""

    label = model = "crowded"

    def __init__(self, fails: Any = None, **more: int) -> None:
        self.most = self.now = self.asked = 0
        self._fails = fails or {}
        self._lock = threading.Lock()
        self.__dict__.update(more)

    def chat(self, messages: Any, options: Any) -> Answer:
        question = messages[-1]["content"]
        with self._lock:
            self.asked += 1
            self.now += 1
            self.most = max(self.most, self.now)
        if question != "Hi":
            time.sleep(0.02 - 0.0005 * int(question[1:]))
        with self._lock:
            self.now -= 1
        if question in self._fails:
            raise self._fails[question]
        return Answer(f"a {question}", "stop", 0.5, tokens=1)

    def render(self, messages: Any) -> str | None:
        return None

    def digest(self) -> str | None:
        return None


def test_the_report_is_the_same_however_many_are_asked_at_a_time(run: Any, suite: Any) -> None:
    alone, together = Crowded(), Crowded()
    one, four = run(suite(SUITE), alone), run(suite(SUITE), together, concurrency=4)
    assert (alone.most, together.most) == (1, 4)
    assert [case.id for case in four.cases] == [f"c{n}" for n in range(24)]
    assert to_json(replace(one, timing=four.timing)) == to_json(four)


@pytest.mark.parametrize(
    ("endpoint", "wanted", "more", "most"),
    [
        ({}, None, "", 1),
        ({"at_once": 4}, None, "", 4),
        ({"at_once": 4}, 2, "", 2),
        ({"most_at_once": 1}, 8, "", 1),
        ({"at_once": 4}, None, "gates: [p95_latency <= 9]\n", 1),
        ({"at_once": 4}, None, "defaults: {assert: [{type: latency, threshold: 9000}]}\n", 1),
        ({"at_once": 4}, 3, "gates: [p95_latency <= 9]\n", 3),
    ],
)
def test_how_many_at_a_time(run: Any, suite: Any, endpoint: Any, wanted: Any, more: str, most: int) -> None:
    model = Crowded(**endpoint)
    run(suite(SUITE.replace("tests:", f"{more}tests:")), model, concurrency=wanted)
    assert model.most == most


def test_which_servers_take_several() -> None:
    assert OpenAIEndpoint.at_once == 4
    assert EmbeddedEndpoint.most_at_once == 1


def test_a_server_that_dies_among_several_questions_is_not_waited_for(run: Any, suite: Any) -> None:
    dead = {f"q{n}": ServerUnreachable("nothing answers") for n in range(8, 24)}
    model = Crowded(dead)
    report = run(suite(SUITE), model, concurrency=4)
    assert (report.tuned.passes, report.errors) == (8, 16)
    assert model.asked <= 1 + 8 + 4 * 4
    assert {case.tuned.outcome for case in report.cases[:8]} == {"pass"}


def test_an_error_that_nobody_foresaw_is_not_swallowed(run: Any, suite: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        run(suite(SUITE), Crowded({"q3": ZeroDivisionError()}), concurrency=4)


def test_a_refusal_of_one_does_not_stop_the_others(run: Any, suite: Any) -> None:
    report = run(suite(SUITE), Crowded({"q3": ServerError("too long", status=400)}), concurrency=4)
    assert (report.tuned.passes, report.errors) == (23, 1)
