"""The report as Markdown, read as GitHub reads it: rendered, and then looked through for what would do something."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ggship.errors import ServerError
from ggship.evals.inert import code, fenced, inert
from ggship.evals.markdown import append_summary, full_markdown
from ggship.evals.summary import report_markdown

OURS = {
    "h2",
    "p",
    "strong",
    "ul",
    "ol",
    "li",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "code",
}
OURS |= {"pre", "blockquote"}
# What GitHub links in the text that was rendered, wherever it is not code.
LINKED = re.compile(r"@\w|#\d|https?:|www\.|\b[0-9a-f]{7,40}\b|\bGH-\d|:\w+:|\$")
ATTACKS = (
    "@octocat thanks, see #1 and octo/repo#2 and GH-3 and 1234567890abcdef",
    "https://evil.example/?q=1 www.evil.example mail@evil.example :tada: $`x`$ $x$",
    "![pixel](https://evil.example/p.png) [click](javascript:alert(1)) <https://evil.example>",
    "</code></pre></td></table></details><img src=https://evil.example onerror=alert(1)><script>alert(2)</script>",
    "` `` ``` ```` ~~~ ~~~~\n```\nout\n~~~\n</details>\n\n# heading\n\n- list\n\n| a | b |\n|---|---|\n| c | d |",
    "a | b \\| c \\\\| d || e `x|y` *bold* __bold__ ~~gone~~ [^1] &lt;b&gt; &amp; - [ ] task",
    "\x1b[31mred\x1b[0m \x00 \u202egnp.exe \u2028\u2029 line",
)


class Rendered(HTMLParser):
    """The elements that came out, and all text that is not code."""

    def __init__(self, markdown: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.loose = ""
        self.code = ""
        self.within = 0
        self.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert all(name in ("class", "style") and "text-align" not in str(value) for name, value in attrs), attrs
        self.within += tag in ("code", "pre")

    def handle_endtag(self, tag: str) -> None:
        self.within -= tag in ("code", "pre")

    def handle_data(self, data: str) -> None:
        if self.within:
            self.code += data
        else:
            self.loose += data


def harmless(markdown: str) -> Rendered:
    page = Rendered(markdown)
    assert set(page.tags) <= OURS, set(page.tags) - OURS
    assert not LINKED.search(page.loose), LINKED.search(page.loose)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2028\u2029]", markdown)
    return page


@pytest.fixture
def attacked(run: Any, scripted: Any, suite: Any) -> Any:
    """A report with the attacks as answers, errors, questions, ids, tags, names of models and of the suite."""
    tests = "".join(f"  - {{id: c{n}, prompt: q{n}, assert: [{{type: contains, value: x}}]}}\n" for n in range(14))
    report = run(suite(f"version: 1\ntests:\n{tests}"), scripted(), scripted(otherwise="x"))
    cases = []
    for number, case in enumerate(report.cases):
        said = ATTACKS[number % len(ATTACKS)]
        wrong = replace(case.tuned.checks[0], reason=f"lacks {said}")
        tuned = replace(case.tuned, text=said, checks=(wrong,))
        tuned = replace(tuned, outcome="error", error=said) if number >= len(ATTACKS) else tuned
        turn = {**case.messages[0], "content": said}
        cases.append(replace(case, id=f"{number} {said}", messages=(turn,), tags=(said,), tuned=tuned))
    name = " ".join(ATTACKS)
    return replace(
        report,
        suite=name,
        cases=tuple(cases),
        rival="other",
        tuned=replace(report.tuned, label=name, metrics={name: 1.0}),
        base=replace(report.base, label=name, metrics={name: 1.0}),
        warnings=tuple(ATTACKS),
        verdict=replace(report.verdict, reasons=ATTACKS),
    )


def test_what_strangers_said_is_inert(attacked: Any) -> None:
    page = harmless(full_markdown(attacked))
    assert page.tags.count("table") == 2, "scores and gates, and no table of somebody else's"
    assert page.tags.count("details") == 14
    assert page.tags.count("h2") == 1
    cells = page.tags.count("td")
    assert cells == 3 * 6 + 4 * len(attacked.all_gates), "no cell more than there are figures"
    for word in ("@octocat", "https://evil.example", "<script>alert(2)</script>", "U+202E"):
        assert word in page.code
    harmless(report_markdown(attacked))


@given(st.text(alphabet=st.sampled_from(list("ab1 `*_[]()<>#|~!@:/.\\$&;-+=\n\t")), max_size=40))
def test_no_text_gets_out_of_its_place(text: str) -> None:
    assert harmless(f"* {inert(text)}\n").tags.count("li") == 1
    assert harmless(f"| {inert(text, cell=True)} | {code(text, cell=True)} |\n|---|---|\n").tags.count("th") == 2
    page = harmless("\n".join(["<details>", "", *fenced(text, 1_000), "</details>"]))
    assert page.tags == ["details", "pre", "code"]
    assert page.code.rstrip("\n") == text.rstrip("\n")


def test_plain_words_stay_plain() -> None:
    said = "stops: 5 of 28 answers do not end by themselves (zh-limitation: cut); pass_rate >= 0.8, it's 50 %"
    assert inert(said) == said
    assert inert("gate p95_latency_ratio <= 1.5 说得好。") == "gate p95_latency_ratio <= 1.5 说得好。"


def test_the_cases_that_went_wrong_come_with_both_answers(run: Any, scripted: Any, capitals: Any) -> None:
    tuned = scripted(
        {"France?": "Paris", "Japan?": "Kyoto", "Egypt?": "Cairo", "Peru?": ServerError("gone", status=500)}
    )
    text = full_markdown(run(capitals, tuned, scripted({"Japan?": "Tokyo"}, label="base")))
    assert text.startswith("## ✗ Not ready to go live: `tuned`\n")
    assert text.index("error <code>peru") < text.index("regression <code>japan")
    assert "<code>france" not in text
    assert "```text\nKyoto\n```" in text
    assert "```text\nTokyo\n```" in text
    assert "**Tuned**, failed: `contains: lacks “Tokyo”`" in text
    assert "| median answer, s | 0.500 | 0.500 |" in text


def test_it_fits_a_comment_however_much_went_wrong(run: Any, scripted: Any, suite: Any) -> None:
    tests = "".join(f"  - {{id: c{n}, prompt: q{n}, assert: [{{type: contains, value: x}}]}}\n" for n in range(900))
    report = run(suite(f"version: 1\ntests:\n{tests}"), scripted(otherwise="no"))
    endless = "\u202e`|" * 700_000
    cases = tuple(replace(case, tuned=replace(case.tuned, text=endless)) for case in report.cases)
    report = replace(report, cases=cases)
    text = full_markdown(report)
    assert len(text) <= 60_000
    assert re.search(r"\n\d+ more cases that went wrong: see report.html\.\n$", text)
    assert "more characters are in report.json" in text
    harmless(text)


def test_the_summary_of_a_step_is_added_to_and_never_outgrows_what_is_allowed(attacked: Any, tmp_path: Path) -> None:
    file = tmp_path / "made" / "summary.md"
    append_summary(attacked, file)
    first = file.read_text()
    append_summary(attacked, file)
    assert file.read_text() == f"{first}\n{first}"
    for _ in range(40):
        append_summary(attacked, file)
    assert file.stat().st_size <= 1024 * 1024
    harmless(file.read_text())
