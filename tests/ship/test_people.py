"""A model that people must accept before it goes live: held back, read, and promoted with the same command."""

from __future__ import annotations

import pytest

from ggship.clock import SystemClock
from ggship.errors import GateFailed
from ggship.evals import read_report
from ggship.evals.humans import items_of
from ggship.evals.review.session import Session
from ggship.evals.review.store import Reviews

SUITE = """
version: 1
gates: [human.accept >= 0.8]
tests: [{prompt: q1}, {prompt: q2}, {prompt: q3}]
"""


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "people.yaml").write_text(SUITE)
    return tmp_path / "people.yaml"


def read(folder, mark, who="anna"):
    """Somebody reads all answers of the package's report."""
    report = read_report(folder / "eval" / "report.json")
    session = Session(report, Reviews(report.tuned.label), who, SystemClock())
    for number in range(len(session.items)):
        shown = session.case(number)["answers"]
        good = next(place for place, one in zip("AB", shown, strict=True) if "Trained" in one["pieces"][0][0])
        marks = {place: mark if place == good else "reject" for place in "AB"}
        session.judge(number, {"prefer": good, "marks": marks, "edits": {}, "comment": ""})


def test_it_goes_live_once_people_have_accepted_it(shop, suite):
    with pytest.raises(GateFailed, match=r"human\.accept >= 0\.8: too few of them were read"):
        shop.package(suite=suite)
    assert not shop.server.models
    held = shop.root / "out" / "law.held"
    read(held, "accept")
    shop.package(suite=suite)
    assert set(shop.server.models) == {"law:latest", "law:v1"}
    report = read_report(shop.root / "out" / "law" / "eval" / "report.json")
    assert report.humans is not None
    assert report.humans.accept is not None
    assert (report.humans.accept.value, report.humans.read) == (1.0, len(items_of(report.cases)))


def test_what_people_reject_stays_where_it_is(shop, suite):
    with pytest.raises(GateFailed):
        shop.package(suite=suite)
    read(shop.root / "out" / "law.held", "reject")
    with pytest.raises(GateFailed, match=r"human\.accept >= 0\.8: observed 0"):
        shop.package(suite=suite)
    assert not shop.server.models


def test_eval_counts_what_was_read_as_long_as_the_answers_are_the_same(shop, suite, capsys):
    shop.package(
        suite=suite.with_name("plain.yaml")
        if suite.with_name("plain.yaml").write_text(SUITE.replace("gates: [human.accept >= 0.8]", "gates: []"))
        else None
    )
    read(shop.root / "out" / "law", "accept")
    rule = ("--gate", "human.accept >= 0.8", "--gate", "human.prefer_tuned > 0.5")
    assert shop.ggship("eval", shop.root / "out" / "law", *rule) == 0
    assert "3 of 3 read by 1, 100 % accepted, 100 % preferred" in capsys.readouterr().out
    shop.server.answer = lambda request: "A base." if "ggship-base" in request["model"] else "Other words."
    assert shop.ggship("eval", shop.root / "out" / "law", *rule, "--fresh") == 3
    printed = capsys.readouterr()
    assert "3 judged other answers and do not count" in printed.out
    assert "gate human.accept >= 0.8: too few of them were read" in printed.err
