from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from ggship.errors import ServerError
from ggship.evals.curve import draw
from ggship.evals.html import render_html
from ggship.evals.report import Humans, Likelihood, Rate

VOID = {"meta", "input", "link", "img", "br"}


class Page(HTMLParser):
    """The elements of a page, with every attribute, and whether they were closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "p" and (not self.open or self.open[-1] != "p"):
            raise AssertionError("a paragraph is closed twice")
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]


@pytest.fixture
def report(run: Any, scripted: Any, capitals: Any) -> Any:
    tuned = scripted({"France?": "It is Paris.", "Japan?": "Kyoto it is", "Peru?": ServerError("gone", status=500)})
    base = scripted({"France?": "It is Lyon.", "Japan?": "Tokyo it is"}, label="smollm2")
    return run(capitals, tuned, base)


def test_hostile_answers_are_inert_and_visible(hostile: Any) -> None:
    text = render_html(hostile, provenance=[(hostile.tuned.label, hostile.suite)], timings=True)
    page = Page(text)
    assert page.open == []
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert page.all("img") == page.all("a", href="javascript:alert(4)") == []
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert re.search("<mark>[^<]*alert[^<]*</mark>", text)
    assert "alert(1)" in page.text
    assert "{{ 7 * 7 }}" in page.text
    shown = re.sub("[\n\t]", "", text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b\u2028\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]", shown)
    assert "U+202E" in page.text
    assert "U+001B" in page.text


def test_the_page_needs_nothing_and_allows_nothing(report: Any) -> None:
    text = render_html(report)
    page = Page(text)
    policy = str(next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv")))
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "://" not in text
    assert [found for _, found in page.elements if "src" in found] == []
    assert page.all("link") == []
    for tag in ("style", "script"):
        body = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body.group(1).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_verdict_comes_first_and_problems_before_the_rest(report: Any) -> None:
    page = Page(render_html(report))
    assert page.text.index("Not ready to go live") < page.text.index("1 case ended in an error")
    assert page.text.index("1 case ended in an error") < page.text.index("Gates") < page.text.index("Cases")
    states = [str(found["data-states"]) for found in page.all("details")]
    assert states == ["error", "changed fail regression", "fail", "changed gain pass"]


def test_differences_are_marked_on_both_sides(report: Any) -> None:
    text = render_html(report)
    assert "It is <mark>Paris</mark>." in text
    assert "It is <mark>Lyon</mark>." in text
    assert "Both gave the same answer." in text


def test_every_control_has_a_name_and_can_be_reached(report: Any) -> None:
    page = Page(render_html(report))
    assert page.all("html", lang="en")
    assert page.all("meta", name="viewport")
    assert page.all("a", href="#cases")
    assert all(found.get("aria-label") for found in page.all("input"))
    assert {found.get("aria-pressed") for found in page.all("button")} == {"true", "false"}
    assert len(page.all("summary")) == 4


def test_a_page_without_scores_says_so(run: Any, scripted: Any, suite: Any) -> None:
    page = Page(render_html(run(suite("{version: 1, tests: [{prompt: q}]}"), scripted(otherwise="a"))))
    assert "Ready to go live" in page.text
    assert "Nothing was scored" in page.text
    assert "Scores" not in page.text


def test_a_large_suite_keeps_the_page_small(run: Any, scripted: Any, suite: Any) -> None:
    tests = "".join(f"  - {{id: c{n}, prompt: q{n}, assert: [{{type: contains, value: a}}]}}\n" for n in range(1_200))
    report = run(suite(f"version: 1\ntests:\n{tests}"), scripted({"q1100": "no"}, otherwise="a" * 3 + "b" * 30))
    text = render_html(report)
    assert "c1100" in text  # what failed is shown, wherever it stands
    assert "200 more cases are in report.json." in text


def test_an_endless_answer_is_cut_on_the_page(run: Any, scripted: Any, suite: Any) -> None:
    made = suite("{version: 1, tests: [{prompt: q}]}")
    text = render_html(run(made, scripted(otherwise="word " * 400_000), scripted(otherwise="word")))
    assert len(text) < 200_000
    assert "more characters are in report.json" in text


def test_the_training_curve_is_drawn(report: Any) -> None:
    page = Page(render_html(report, curve=[(10, 2.0, None), (20, 1.0, 1.5), (30, 0.5, 1.2), (40, float("nan"), None)]))
    assert "training loss from 2 to 0.5 and evaluation loss from 1.5 to 1.2" in str(page.all("svg", role="img"))
    assert len(page.all("polyline")) == 2
    assert len(page.all("circle", **{"class": "eval"})) == 2


def test_points_of_the_curve_stay_within_it() -> None:
    curve = draw([(step, 3.7 / (step + 1) - 0.2, None) for step in range(5_000)])
    assert curve is not None
    points = [tuple(map(float, point.split(","))) for point in curve.loss.split()]
    assert len(points) <= 402
    assert all(curve.left <= x <= curve.right and 0 <= y <= curve.bottom for x, y in points)
    assert points[-1][0] == curve.right
    assert draw([]) is draw([(1, 2.0, None)]) is None


def test_provenance_is_shown(report: Any) -> None:
    assert "update survival" in Page(render_html(report, provenance=[("update survival", "0.98")])).text


def test_what_people_found_and_how_likely_the_right_answers_are_stand_on_the_page(report: Any) -> None:
    assert "perplexity" not in Page(render_html(report)).text
    humans = Humans(4, 3, (), Rate(0.5, (0.2, 0.8)), None, None, None, None, 0, 0, None, None, 0)
    likely = Likelihood(3, 30, -0.5, 1.649, 0.7)
    told = replace(report, humans=humans, tuned=replace(report.tuned, likelihood=likely))
    page = Page(render_html(told))
    assert page.open == []
    assert "3 of 4 read by 0" in page.text
    assert "50 % accepted" in page.text
    assert "1.649" in page.text
