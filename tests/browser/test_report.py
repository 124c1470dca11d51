"""The report in a real browser, opened from its file as people open it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ggship.evals import Report
from ggship.evals.html import render_html
from ggship.evals.report import Prompt

from .look import contrasts, sideways
from .reports import asked

CAPITALS = """
version: 1
name: capitals
gates: [pass_rate >= 0.5, delta_pass_rate > 0, regressions <= 0, p95_latency <= 10]
tests:
  - {id: france, prompt: "What is the capital of France?", assert: [{type: contains, value: Paris}], tags: [europe]}
  - {id: japan, prompt: "And of Japan?", assert: [{type: contains, value: Tokyo}], tags: [asia]}
  - {id: egypt, prompt: "And of Egypt?", assert: [{type: contains, value: Cairo}]}
  - {id: peru, prompt: "And of Peru?", assert: [{type: contains, value: Lima}]}
"""
TUNED = {
    "What is the capital of France?": "The capital is Paris.",
    "And of Japan?": "The capital is Kyoto.",
    "And of Egypt?": "The capital is Cairo.",
}
BASE = {"What is the capital of France?": "The capital is Lyon.", "And of Japan?": "The capital is Tokyo."}
CURVE = [(10, 2.0, None), (20, 1.0, 1.5), (30, 0.5, 1.2)]
ATTACK = (
    "</div></details></style></script><script>window.hacked = 1; alert(1)</script>"
    "<img src=http://127.0.0.1:9/pixel onerror='window.hacked=2'><svg onload='window.hacked=3'></svg>"
    "<iframe src='http://127.0.0.1:9/frame'></iframe><a href='javascript:window.hacked=4'>click</a>"
    "<style>body{display:none}</style><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/gone'>"
    "{{ 7 * 7 }} \x1b[31mred\x1b[0m \x00\x00\x00\x00\x00 \u202egnp.exe\u202c \u2066a\u2069 \ufeff \" ' ` \u2028"
)

Open = Callable[..., Any]


@pytest.fixture
def page_of(open_page: Open, tmp_path: Path) -> Open:
    """page_of(report, dark=..., width=...): its page, opened from a file."""

    def page_of(report: Report, *, policy: bool = True, edit: Callable[[str], str] = str, **view: Any) -> Any:
        path = tmp_path / "report.html"
        text = render_html(report, curve=CURVE, provenance=[("run", "lora-out"), ("base", "smollm2")], timings=True)
        path.write_text(edit(text), encoding="utf-8")
        return open_page(path.as_uri(), **view)

    return page_of


@pytest.fixture
def capitals() -> Report:
    """One gained, one lost, two otherwise; with everything that a report can have on its page."""
    report = asked(CAPITALS, TUNED, BASE)
    case = replace(report.cases[0], tuned=replace(report.cases[0].tuned, thinking="Where is France?"))
    prompt = Prompt("france", "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    return replace(report, cases=(case, *report.cases[1:]), prompt=prompt)


def visible(opened: Any) -> list[str]:
    """The ids of the cases that are shown."""
    return [str(found) for found in opened.page.locator(".case:visible .id").all_inner_texts()]


def focused(opened: Any) -> str:
    return str(opened.page.evaluate("document.activeElement.closest('.case')?.querySelector('.id').textContent ?? ''"))


def test_it_opens_from_its_file_verdict_first_and_asks_for_nothing_else(page_of: Open, capitals: Report) -> None:
    opened = page_of(capitals)
    page = opened.page
    assert page.get_by_role("heading", name="Not ready to go live", level=1).is_visible()
    headings = [heading.strip() for heading in page.get_by_role("heading", level=2).all_inner_texts()]
    wanted = ["Gates", "Scores", "Smoke checks", "Cases", "Speed", "Training", "Prompt as rendered", "Provenance"]
    assert headings == wanted
    assert page.get_by_text("pass_rate >= 0.5").bounding_box()["y"] < 900, "the gates are on the first screen"
    assert page.locator("#prompt .control").all_inner_texts() == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    assert "half of the answers within 0.5 s" in str(page.locator("svg.latency").get_attribute("aria-label"))
    assert "training loss from 2 to 0.5" in str(page.locator("svg.curve").get_attribute("aria-label"))
    assert len(opened.requests) == 1
    assert opened.errors == opened.dialogs == []


def test_filters_and_search_leave_what_was_asked_for(page_of: Open, capitals: Report) -> None:
    opened = page_of(capitals)
    page = opened.page
    assert visible(opened) == ["japan", "peru", "france", "egypt"], "problems first"
    page.get_by_role("button", name="Regressions").click()
    assert visible(opened) == ["japan"]
    page.get_by_role("button", name="Passed").click()
    assert visible(opened) == ["france", "egypt"]
    assert page.get_by_role("status").inner_text() == "2 of 4 cases"
    search = page.get_by_role("searchbox")
    search.fill("CAIRO capital")
    assert visible(opened) == ["egypt"]
    assert page.evaluate("CSS.highlights.get('found').size") == 2, "each word, where the answer has it"
    search.fill("asia")
    assert visible(opened) == []
    assert page.get_by_text("No case is like that.").is_visible()
    page.get_by_role("button", name="All 4").click()
    assert visible(opened) == ["japan"], "tags are looked in"
    search.press("Escape")
    assert len(visible(opened)) == 4
    assert not page.evaluate("CSS.highlights.has('found')")


def test_differences_are_marked_on_both_sides(page_of: Open, capitals: Report) -> None:
    page = page_of(capitals).page
    case = page.locator(".case", has_text="france").first
    assert case.locator(".text.tuned mark").all_inner_texts() == ["Paris"]
    assert case.locator(".text.base mark").all_inner_texts() == ["Lyon"]
    plain = page.evaluate("getComputedStyle(document.querySelector('.case')).backgroundColor")
    assert case.locator("mark").first.evaluate("mark => getComputedStyle(mark).backgroundColor") not in (
        plain,
        "rgba(0, 0, 0, 0)",
    )


def test_the_keyboard_is_enough(page_of: Open, capitals: Report) -> None:
    opened = page_of(capitals)
    keys = opened.page.keyboard
    keys.press("Tab")
    assert opened.page.evaluate("document.activeElement.textContent") == "To the cases"
    keys.press("Enter")
    keys.press("j")
    assert focused(opened) == "japan"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert opened.page.evaluate(outline) != "none", "one sees where one is"
    for key, there in (("j", "peru"), ("ArrowDown", "france"), ("ArrowUp", "peru"), ("k", "japan"), ("k", "japan")):
        keys.press(key)
        assert focused(opened) == there, key
    case = opened.page.locator(".case").first
    assert case.get_attribute("open") is not None
    keys.press("Enter")
    assert case.get_attribute("open") is None
    keys.press("/")
    keys.type("egypt j")
    assert opened.page.get_by_role("searchbox").input_value() == "egypt j", "letters are letters in the search"
    keys.press("Backspace")
    keys.press("Enter")
    assert focused(opened) == "egypt", "from the search to what it found"
    opened.page.get_by_role("button", name="Close all").or_(opened.page.get_by_role("button", name="Open all")).focus()
    keys.press("Enter")
    assert opened.page.locator(".case:visible[open]").count() == 1


@pytest.mark.parametrize("javascript", [True, False])
def test_what_a_model_says_is_shown_and_does_nothing(page_of: Open, javascript: bool) -> None:
    said = {"q": f"same words {ATTACK}"}
    report = asked("version: 1\ntests: [{id: a, prompt: q}]", said, {"q": "same words"}, label=f"law {ATTACK}")
    case = replace(report.cases[0], id=f"id {ATTACK}", tags=(ATTACK,))
    case = replace(case, messages=({"role": "user", "content": ATTACK},), tuned=replace(case.tuned, thinking=ATTACK))
    opened = page_of(
        replace(report, suite=ATTACK, cases=(case,), warnings=(ATTACK,), prompt=Prompt(ATTACK, ATTACK)),
        java_script_enabled=javascript,
    )
    page = opened.page
    answer = page.locator(".text.tuned").inner_text()
    for part in ("<script>window.hacked = 1; alert(1)</script>", "{{ 7 * 7 }}", "U+001B", "U+0000×5", "U+202E"):
        assert part in answer
    assert page.locator("img, iframe, a[href^='javascript'], meta[http-equiv=refresh]").count() == 0
    assert page.locator("script").count() == 1
    assert len(opened.requests) == 1
    assert opened.errors == opened.dialogs == []
    if javascript:
        assert page.evaluate("window.hacked") is None
    assert not sideways(opened)


def test_even_markup_that_got_through_could_do_nothing(page_of: Open, capitals: Report) -> None:
    """The policy is a second wall: here the first one is torn down, as a mistake of ours would.

    What no policy of a page can forbid is a `meta` that leads elsewhere.
    """
    attack = re.sub("<meta[^>]*>", "", ATTACK)
    opened = page_of(capitals, edit=lambda text: text.replace("The capital is <mark>Paris</mark>.", attack, 1))
    opened.page.wait_for_timeout(300)
    assert opened.page.evaluate("window.hacked") is None
    assert opened.dialogs == []
    assert [url for url in opened.requests if "127.0.0.1" in url and not opened.refused(url)] == []
    assert any("Content Security Policy" in error for error in opened.errors), "it was the policy that held"


def test_an_endless_answer_and_ten_thousand_cases_open_at_once(page_of: Open) -> None:
    report = asked("version: 1\ntests: [{id: a, prompt: q}]", {"q": "so it says " * 200_000}, {"q": "\x00a" * 500_000})
    case = report.cases[0]
    many = tuple(replace(case, id=f"case {number}") for number in range(10_000))
    sizes = []
    opened = page_of(replace(report, cases=many), edit=lambda text: sizes.append(len(text)) or text)
    assert sizes[0] < 12_000_000
    assert opened.page.get_by_text("9,000 more cases are in report.json.").count() == 1
    timing = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    assert opened.page.evaluate(timing) < 10_000, "milliseconds until it can be used"
    opened.page.get_by_role("searchbox").fill("case 777")
    assert visible(opened) == ["case 777"]
    assert opened.errors == []


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_what_is_behind_it(page_of: Open, capitals: Report, dark: bool) -> None:
    bad = replace(capitals, warnings=("only 4 cases were judged",))
    error = replace(bad.cases[3], tuned=replace(bad.cases[3].tuned, outcome="error", error="the server\u202e was gone"))
    opened = page_of(replace(bad, cases=(*bad.cases[:3], error)), dark=dark)
    opened.page.get_by_role("button", name="Failed").click()
    weak = [f"{ratio:.2f} {text!r}" for ratio, text in contrasts(opened) if ratio < 4.5]
    assert weak == []
    paper = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 384) is dark


@pytest.mark.parametrize("width", [320, 360, 768])
def test_nothing_is_wider_than_a_phone(page_of: Open, capitals: Report, width: int) -> None:
    long = replace(capitals.cases[0], id="id" * 80, tuned=replace(capitals.cases[0].tuned, text="word" * 500))
    report = replace(capitals, suite="suite" * 40, cases=(long, *capitals.cases[1:]))
    opened = page_of(report, width=width, height=740)
    assert not sideways(opened)
    small = opened.page.evaluate(
        "[...document.querySelectorAll('button, input, .case > summary')].map(e => e.getBoundingClientRect().height)"
    )
    assert width > 720 or min(height for height in small if height) >= 24, "a thumb can hit it"


def test_on_paper_everything_is_open(page_of: Open, capitals: Report) -> None:
    opened = page_of(capitals)
    opened.page.get_by_role("button", name="Close all").or_(opened.page.get_by_role("button", name="Open all")).click()
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator(".case:not([open])").count() == 0
    assert not opened.page.get_by_role("searchbox").is_visible()
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_a_link_to_a_case_opens_it(page_of: Open, capitals: Report) -> None:
    opened = page_of(capitals)
    opened.page.evaluate("document.querySelectorAll('.case').forEach(c => c.open = false); location.hash = 'case-3'")
    opened.page.wait_for_function("document.getElementById('case-3').open")
    assert opened.page.locator("#case-3").get_attribute("open") is not None
