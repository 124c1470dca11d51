"""The report as Markdown for a pull request or a job's page, in which what a model said is inert."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ggship.evals.inert import code, fenced, html_code
from ggship.evals.report import CaseReport, Report, Result
from ggship.evals.rows import judged_cases
from ggship.evals.summary import report_markdown

# A comment on GitHub takes 65,536 characters (its API: "body is too long"); a step's summary 1 MiB, and more fails the
# upload (docs.github.com, "Adding a job summary"). What is left of the first is for words that somebody adds.
LONGEST = 60_000
STEP_BYTES = 1024 * 1024
MOST_CASES = 50
SHOWN = 1_200
_ALIKE = {"error": "error", "regression": "regression", "fail": "failed"}


def full_markdown(report: Report, limit: int = LONGEST) -> str:
    """Verdict, scores, gates, and the cases that went wrong, each folded, with both answers.

    It has at most `limit` characters. Law: whatever a model, a suite or a server said neither mentions anybody, nor
    links, nor is HTML, nor leaves its place.
    """
    head = f"## {'✓ Ready' if report.passed else '✗ Not ready'} to go live: {code(report.tuned.label)}\n\n"
    text = head + report_markdown(report, timings=True)
    if len(text) > limit:
        cut = text[: limit - 200]
        return cut[: cut.rindex("\n") + 1] + "\nMore is in report.json.\n"
    wrong = [(case, state) for case, state in judged_cases(report) if state in _ALIKE]
    told = 0
    for case, state in wrong[:MOST_CASES]:
        block = "\n" + "\n".join(_case(report, case, state)) + "\n"
        if len(text) + len(block) > limit - 200:
            break
        text += block
        told += 1
    if len(wrong) > told:
        rest = len(wrong) - told
        text += f"\n{rest:,} more {'case' if rest == 1 else 'cases'} that went wrong: see report.html.\n"
    return text


def append_summary(report: Report, file: Path) -> None:
    """Add the report to the summary of a job's step, as far as there is room. OSError where it cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    there = file.stat().st_size if file.exists() else 0
    room = STEP_BYTES - there - 1024
    text = (
        full_markdown(report, min(LONGEST, room // 4)) if room > 8_000 else ""
    )  # no character takes more than 4 bytes
    with file.open("a", encoding="utf-8", newline="\n") as out:
        out.write(("\n" if there else "") + text)


def _case(report: Report, case: CaseReport, state: str) -> Iterator[str]:
    yield f"<details><summary>{_ALIKE[state]} {html_code(case.id[:200])}</summary>"
    yield ""
    yield from fenced(case.messages[-1]["content"], SHOWN)
    if case.base is not None:
        yield from _answer("Base" if report.rival == "base" else "Other", case.base)
    yield from _answer("Tuned", case.tuned)
    yield "</details>"


def _answer(name: str, result: Result) -> Iterator[str]:
    outcome = {"pass": "passed", "fail": "failed", "error": "error"}[result.outcome]
    wrong = [code(f"{check.type}: {check.reason}"[:300]) for check in result.checks if not check.passed]
    if result.error:
        wrong = [code(result.error[:500])]
    yield f"**{name}**, {outcome}{': ' if wrong else ''}{', '.join(wrong[:10])}"
    yield ""
    if result.text:
        yield from fenced(result.text, SHOWN)
