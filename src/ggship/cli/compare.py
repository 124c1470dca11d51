"""`ggship compare`: several models, one suite, each asked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import (
    Rules,
    allow_pickle_option,
    base_option,
    concurrency_option,
    fresh_option,
    host_option,
    json_option,
    likelihood_option,
    suite_options,
)
from ggship.cli.terminal import Steps, Terminal, harmless
from ggship.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from ggship.evals.contest import Contest, Held
    from ggship.evals.report import Report
    from ggship.evals.suite import Suite
    from ggship.releases.lineup import Lineup


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL MODEL...")
@click.option("--suite", type=click.Path(path_type=Path), help="The questions (otherwise those of the first package).")
@click.option(
    "--baseline", metavar="MODEL|base", help="What the others are held against (otherwise the first); base: its base."
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    type=Rules(),
    metavar="EXPR",
    help="One more rule for each model: 'regressions <= 0'. Several in the variable: with semicolons.",
)
@click.option("--no-suite-gates", is_flag=True, help="Leave the suite's own rules out.")
@likelihood_option
@suite_options
@concurrency_option
@fresh_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write compare.html and .json, a report of each pair there."
)
@host_option
@base_option
@allow_pickle_option
@json_option
@click.pass_obj
def compare(
    terminal: Terminal,
    /,
    models: tuple[str, ...],
    suite: Path | None,
    baseline: str | None,
    gates: tuple[str, ...],
    no_suite_gates: bool,
    likelihood: bool,
    out: Path | None,
    host: str | None,
    base: str | None,
    allow_pickle: bool,
    concurrency: int | None,
    fresh: bool,
    tags: tuple[str, ...],
    plugins: tuple[str, ...],
    **graders: Any,
) -> None:
    """Ask several models the same and say how they differ (exit 3 where a gate does not hold).

    MODEL is a package, a model of the Ollama server, URL#MODEL or hf:RUN. Each is held against the first.
    """
    from ggship.clock import SystemClock
    from ggship.evals import add_gates
    from ggship.evals.contest import hold_contest
    from ggship.evals.graders import Graders, equip
    from ggship.evals.kept import Kept
    from ggship.evals.load import keep_tagged
    from ggship.evals.plugins import load_plugins
    from ggship.releases.lineup import Means, line_up

    known = load_plugins(plugins)
    reports: list[Report] = []
    kept = Kept(fresh=fresh, on_found=partial(_tell_found, terminal, reports))
    with terminal.steps() as steps:
        means = Means(host, base, allow_pickle, steps, terminal.warn, terminal.wait_note)
        lineup = line_up(models, means, baseline=baseline)
        questions = keep_tagged(_questions(terminal, lineup, suite), tags)
        questions = add_gates(replace(questions, gates=()) if no_suite_gates else questions, gates)
        held = hold_contest(
            questions,
            lineup.baseline,
            lineup.others,
            clock=SystemClock(),
            equip=lambda: equip(questions, Graders(**graders, host=host), known),
            on_model=lambda name: steps.start(f"Asking {name}", len(questions.cases), "answers"),
            on_case=lambda done: steps.advance(1, done.total),
            on_report=partial(_count, steps, reports),
            kept=kept,
            concurrency=concurrency,
            likelihood=likelihood,
        )
    if kept.trouble:
        terminal.warn(f"answers cannot be kept, so a comparison that is stopped begins anew: {kept.trouble}")
    if out:
        _write(held, out, questions, suite or lineup.suite)
    show_contest(terminal, held.contest, out)
    if not held.contest.passed:
        raise GateFailed(_failed(held.contest), where="\n".join(held.contest.verdict.reasons))


def _questions(terminal: Terminal, lineup: Lineup, given: Path | None) -> Suite:
    from ggship.evals.load import load_suite

    if given is not None:
        return load_suite(given)
    if lineup.suite is None:
        raise UsageError(
            "there is nothing to ask: none of these models is a package with a suite",
            hint="--suite FILE; `ggship suite from DATA` makes one of your questions",
        )
    terminal.note(f"The questions are those of {lineup.of}.")
    return load_suite(lineup.suite)


def _tell_found(terminal: Terminal, reports: Sequence[Report], side: str, count: int) -> None:
    """Say that answers of another time are used; those of the baseline after the first comparison are of this one."""
    if side == "tuned" or not reports:
        what = "of the baseline" if side == "base" else "of a comparison that was not finished"
        terminal.note(
            f"{count} {'answer' if count == 1 else 'answers'} {what} are kept from before; --fresh asks again"
        )


def _count(steps: Steps, reports: list[Report], report: Report) -> None:
    """One comparison is done."""
    from ggship.evals.summary import percent

    reports.append(report)
    steps.done(percent(report.tuned.pass_rate))


def _write(held: Held, out: Path, questions: Suite, suite: Path | None) -> None:
    """compare.json and compare.html, and below them a folder with the whole report of each pair."""
    import json

    from ggship.digests import write_text
    from ggship.evals.contest_codec import contest_document
    from ggship.evals.contest_page import render_contest
    from ggship.evals.contest_view import folder_names
    from ggship.evals.write import write_reports

    folders = folder_names(list(held.reports))
    for name, report in held.reports.items():
        write_reports(report, out / folders[name], suite=questions, suite_path=suite, timings=True, markdown=True)
    write_text(out / "compare.html", render_contest(held.contest))
    write_text(out / "compare.json", json.dumps(contest_document(held.contest), ensure_ascii=False, indent=2) + "\n")


def _failed(contest: Contest) -> str:
    failed = [model.name for model in contest.models if model.verdict and not model.verdict.passed]
    return f"{', '.join(failed)} did not pass"


def show_contest(terminal: Terminal, contest: Contest, out: Path | None) -> None:
    """Tables, gates and verdict."""
    from ggship.evals.contest_codec import contest_document
    from ggship.evals.contest_view import contest_rows, tables

    if terminal.as_json:
        terminal.document(contest_document(contest))
        return
    for table in tables(contest):
        terminal.say()
        show_table(terminal, table)
    terminal.say()
    terminal.lines(contest_rows(contest))
    if contest.passed:
        terminal.say("\npassed", style="bold green")
    if out:
        terminal.say(f"→ {out / 'compare.html'}; each pair in {out}/MODEL/report.html")


def show_table(terminal: Terminal, rows: Sequence[tuple[str, ...]]) -> None:
    """Rows with their head: the first column to the left, the others to the right, nothing wider than it must be."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for place, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        terminal.say("  ".join(map(harmless, cells)).rstrip(), style=None if place else "dim")
