"""`ggship review` as people meet it: its page in a real Chromium, served by the command as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from ggship.cli import cli
from ggship.cli.funnel import run as run_command
from ggship.evals import parse_suite, write_reports
from ggship.evals.review.store import Reviews
from tests.browser.reports import asked

HOSTILE = (
    "</div></section></script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    "<svg onload=alert(2)><a href='javascript:alert(3)'>x</a>\x1b[31m \u202egnp.exe\u202c ${7*7}"
)
CASES, ALIKE = 10, "question 7"
QUESTIONS = [f"question {n}" for n in range(CASES)]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """What `ggship eval law --out answers` left: 10 cases, in one of which both models say the same."""
    text = f"version: 1\ntests: [{', '.join(f'{{id: c{n}, prompt: {words}}}' for n, words in enumerate(QUESTIONS))}]"
    alike = {ALIKE: "the same"}
    tuned = {words: f"good answer to {words}" for words in QUESTIONS} | alike
    base = {words: f"poor answer to {words}" for words in QUESTIONS} | alike
    write_reports(asked(text, tuned, base, label="law"), tmp_path / "answers", suite=parse_suite(text, "suite"))
    return tmp_path / "answers"


@dataclass
class Served:
    process: subprocess.Popen[str]
    url: str

    def stop(self) -> tuple[int, str]:
        """Ctrl-C: exit code and what it printed."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """serve(folder, who, *arguments): the page of that reviewer."""
    started = []

    def serve(folder: Path, who: str, *arguments: str) -> Served:
        command = [sys.executable, "-m", "ggship", "review", str(folder), "--no-open", "--reviewer", who, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        started.append(process)
        assert process.stderr is not None
        url = next(line.split("→ ")[1].strip() for line in process.stderr if "http://" in line)
        return Served(process, url)

    yield serve
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def visit(open_page: Any, serve: Any, answers: Path) -> Callable[..., Any]:
    """visit(who): the page of that reviewer, its first case shown."""

    def visit(who: str = "anna", folder: Path = answers, **more: Any) -> Any:
        opened = open_page(serve(folder, who).url, **more)
        opened.page.wait_for_selector(".answer")
        return opened

    return visit


def review(folder: Path, *arguments: str) -> int:
    return run_command(cli, ["review", str(folder), *arguments])


def texts(page: Any) -> list[str]:
    return [one.inner_text() for one in page.locator(".answer .text").all()]


def judged(page: Any, count: int) -> None:
    """Wait until so many cases are judged."""
    expect(page.locator("#count")).to_have_text(f"{count} of {CASES}")


def read_all(page: Any, mark: Callable[[str], str] = lambda _: "a", *, until: int = CASES) -> None:
    """Judge by keys alone as somebody does who knows what is good; `mark` says which key the good answer gets."""
    while True:
        done = int(page.locator("#count").inner_text().split()[0])
        if done >= until:
            return
        question = page.locator(".turn.last").inner_text()
        shown = texts(page)
        if len(shown) == 2:
            page.keyboard.press("1" if shown[0].startswith("good") else "2")
        for text in shown:
            page.keyboard.press("r" if text.startswith("poor") else mark(question))
        judged(page, done + 1)
        if done + 1 < CASES:
            expect(page.locator(".turn.last")).not_to_have_text(question)


def kappa(pairs: list[tuple[str, str]]) -> float:
    """Cohen's kappa as scikit-learn computes it: 1 - seen over expected disagreement."""
    lefts, rights = Counter(left for left, _ in pairs), Counter(right for _, right in pairs)
    seen = sum(left != right for left, right in pairs)
    chance = sum(lefts[a] * rights[b] for a in lefts for b in rights if a != b) / len(pairs)
    return 1 - seen / chance


def test_two_people_judge_everything_and_it_comes_out_right(
    visit: Any, answers: Path, tmp_path: Path, capsys: Any
) -> None:
    anna, ben = visit("anna"), visit("ben")
    # Anna stops in the middle, edits one, and comes back.
    read_all(anna.page, until=4)
    said = Reviews("law").read("anna").said
    assert sum(one.tuned_mark is not None for one in {one.key: one for one in said}.values()) == 4
    anna.page.reload()
    anna.page.wait_for_selector(".answer")
    assert anna.page.locator("#count").inner_text() == f"4 of {CASES}"
    shown = texts(anna.page)
    if len(shown) == 1:  # the case in which both say the same
        read_all(anna.page, until=5)
        shown = texts(anna.page)
    good = next(n for n, text in enumerate(shown) if text.startswith("good"))
    question = anna.page.locator(".turn.last").inner_text()
    anna.page.keyboard.press("12"[good])
    if good == 1:
        anna.page.keyboard.press("s")
    anna.page.keyboard.press("e")
    anna.page.wait_for_selector(".editing textarea")
    anna.page.keyboard.press("Control+End")
    anna.page.keyboard.type(", and better")
    anna.page.keyboard.press("Control+Enter")
    anna.page.locator(".edited:not([hidden])").wait_for()
    anna.page.keyboard.press("c")
    anna.page.keyboard.type("a comment")
    anna.page.keyboard.press("Control+Enter")
    anna.page.keyboard.press("r")
    expect(anna.page.locator(".turn.last")).not_to_have_text(question)
    read_all(anna.page)
    # Ben rejects two that Anna accepted.
    strict = [words for words in QUESTIONS if words not in (question, ALIKE)][:2]
    read_all(ben.page, lambda words: "r" if words in strict else "a")
    for opened in (anna, ben):
        assert (opened.errors, opened.dialogs) == ([], [])
        assert {urlsplit(address).hostname for address in opened.requests} == {"127.0.0.1"}

    assert review(answers, "--json", "--status") == 0
    found = json.loads(capsys.readouterr().out)["humans"]
    edited = 1 / 2 / CASES
    rejected = 2 / 2 / CASES
    assert (found["cases"], found["read"]) == (CASES, CASES)
    assert found["edit"]["value"] == pytest.approx(edited)
    assert found["reject"]["value"] == pytest.approx(rejected)
    assert found["accept"]["value"] == pytest.approx(1 - edited - rejected)
    assert found["base_accept"]["value"] <= 1 / CASES
    marks = {who: {one.case: one.tuned_mark for one in Reviews("law").read(who).said} for who in ("anna", "ben")}
    both = [(str(marks["anna"][case]), str(marks["ben"][case])) for case in marks["anna"]]
    assert Counter(left for left, _ in both) == {"accept": CASES - 1, "edit": 1}
    assert found["agreement"]["method"] == "Cohen's kappa"
    assert found["agreement"]["kappa"] == pytest.approx(kappa(both))
    assert [one.comment for one in Reviews("law").judgements() if one.comment][-1] == "a comment"

    pairs = tmp_path / "pairs.jsonl"
    assert review(answers, "--export", str(pairs)) == 0
    rows = [json.loads(line) for line in pairs.read_text("utf-8").splitlines()]
    mended = [row for row in rows if row["chosen"][0]["content"].endswith(", and better")]
    assert next(row["rejected"][0]["content"] for row in mended) == f"good answer to {question}"
    preferred = [row for row in rows if row["rejected"][0]["content"].startswith("poor")]
    assert len(preferred) == CASES - 1 - len(strict)  # what as many reject as accept is never chosen
    assert all(row["chosen"][0]["content"].startswith("good") for row in preferred)

    assert review(answers, "--gate", "human.accept >= 0.8", "--gate", "human.reviewers >= 2") == 0
    assert review(answers, "--gate", "human.accept >= 0.9") == 3
    assert "gate human.accept >= 0.9: observed 0.85" in capsys.readouterr().err


def test_nothing_on_the_wire_says_whose_the_answers_are_until_all_is_judged_and_shown(
    open_page: Any, serve: Any, answers: Path
) -> None:
    heard: list[str] = []
    page = open_page("about:blank").page
    page.on("response", lambda reply: heard.append(f"{reply.url} {reply.headers} {reply.text()}"))
    page.goto(serve(answers, "anna").url)
    page.wait_for_selector(".answer")
    read_all(page)
    page.wait_for_timeout(300)
    wire = [text for text in heard if "/api/" in text.split()[0]]
    assert len(wire) > 2 * CASES
    for hint in ("tuned", "base", "sha256", "digest", "seconds"):
        assert [text for text in wire if hint in text] == []
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]

    page.get_by_role("button", name="Show whose they are").click()
    page.locator("#rows").wait_for()
    names, values = (page.locator(f"#rows {tag}").all_inner_texts() for tag in ("dt", "dd"))
    rows = dict(zip(names, values, strict=True))
    assert rows["accepted"].startswith("100 %")
    assert rows["base accepted"].startswith("10 %")  # the answer that both gave
    for number in range(CASES, 0, -1):
        page.locator("#place", has_text=f"Case {int(page.locator('#place').inner_text().split()[1])} of").wait_for()
        for card in page.locator(".answer").all():
            whose, text = card.locator("h3").inner_text(), card.locator(".text").inner_text()
            assert ("tuned" in whose, "base" in whose) == (text.startswith("good"), text.startswith("poor"))
        shown = int(page.locator("#place").inner_text().split()[1])
        page.keyboard.press("p" if shown > 1 else "n")
        if number > 1 and shown > 1:
            expect(page.locator("#place")).to_have_text(f"Case {shown - 1} of {CASES}")
    page.keyboard.press("r")
    assert page.locator(".marks button:not(:disabled)").count() == 0
    page.reload()
    page.locator("#rows").wait_for()
    assert {one.tuned_mark for one in Reviews("law").read("anna").said if one.tuned_mark} == {"accept"}


def test_undo_works_by_key_and_over_a_reload(visit: Any) -> None:
    page = visit().page
    read_all(page, until=2)
    page.reload()
    page.wait_for_selector(".answer")
    page.keyboard.press("u")
    judged(page, 1)
    assert page.locator("#state").inner_text() in ("begun", "")
    page.keyboard.press("a")
    judged(page, 2)


def test_what_models_say_is_only_ever_text(visit: Any, tmp_path: Path) -> None:
    text = f"version: 1\ntests: [{{prompt: {json.dumps(HOSTILE)}}}]"
    prompt = parse_suite(text, "s").cases[0].messages[-1]["content"]
    report = asked(text, {prompt: f"{HOSTILE} good"}, {prompt: f"{HOSTILE} poor"}, label="law")
    cases = tuple(replace(case, id=HOSTILE) for case in report.cases)
    write_reports(replace(report, cases=cases), tmp_path / "hostile", suite=parse_suite(text, "s"))
    opened = visit(folder=tmp_path / "hostile")
    page = opened.page
    assert page.title().startswith("0 of 1")
    assert "<img src=x onerror=alert(1)>" in texts(page)[0]
    assert page.locator(".answer .odd").first.inner_text() == "U+001B"
    assert page.locator("main img, main svg, main a, main script").count() == 0
    page.keyboard.press("e")
    page.wait_for_selector(".editing textarea")
    assert (
        page.locator(".editing textarea").input_value()
        == HOSTILE + page.locator(".editing textarea").input_value()[-5:]
    )
    page.keyboard.type("<img src=y onerror=alert(4)>")
    page.keyboard.press("Control+Enter")
    page.locator(".edited:not([hidden])").wait_for()
    assert (opened.errors, opened.dialogs) == ([], [])
    assert [address for address in opened.requests if not address.startswith("http://127.0.0.1:")] == []


def test_a_wrong_token_shows_nothing(open_page: Any, serve: Any, answers: Path) -> None:
    url = serve(answers, "anna").url
    for wrong in (url[:-1] + ("a" if url[-1] != "a" else "b"), url.split("?")[0]):
        page = open_page("about:blank").page
        reply = page.goto(wrong)
        assert reply.status == 403
        assert "question" not in page.content()


def test_a_server_that_is_killed_loses_nothing_and_the_page_says_so(open_page: Any, serve: Any, answers: Path) -> None:
    served = serve(answers, "anna")
    page = open_page(served.url).page
    page.wait_for_selector(".answer")
    read_all(page, until=3)
    served.process.kill()
    served.process.wait()
    page.keyboard.press("a")
    page.locator("#alert").wait_for()
    assert "does not answer, so this was not kept" in page.locator("#alert").inner_text()
    assert page.locator(".marks [aria-pressed=true]").count() == 0  # what was not kept does not look as if it were
    again = open_page(serve(answers, "anna").url).page
    again.wait_for_selector(".answer")
    assert again.locator("#count").inner_text() == f"3 of {CASES}"


def test_it_is_readable_on_a_phone_and_by_touch_alone(visit: Any) -> None:
    page = visit(width=390, height=844, has_touch=True).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    if page.locator(".answer").count() == 2:
        page.locator("[data-prefer=A]").tap()
    for card in page.locator(".answer").all():
        card.get_by_role("button", name="Accept").tap()
    judged(page, 1)


def test_what_one_says_is_told_to_a_screen_reader(visit: Any) -> None:
    page = visit().page
    if page.locator(".answer").count() == 1:
        page.keyboard.press("n")
        page.locator(".answer").nth(1).wait_for()
    page.keyboard.press("1")
    assert page.locator("[aria-live=polite]").inner_text() == "A is better"
    page.keyboard.press("a")
    assert page.locator("[aria-live=polite]").inner_text() == "A accepted"
    assert (
        page.get_by_role("group", name="Answer A").get_by_role("button", name="Accept").get_attribute("aria-pressed")
        == "true"
    )
    assert page.get_by_role("progressbar").get_attribute("aria-valuemax") == str(CASES)
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
