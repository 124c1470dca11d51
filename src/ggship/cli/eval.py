"""`ggship eval`: ask a model its suite again, beside its base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.asking import AskingView
from ggship.cli.options import (
    allow_pickle_option,
    base_option,
    concurrency_option,
    fresh_option,
    gate_option,
    host_option,
    json_option,
    likelihood_option,
    suite_options,
    summary_option,
)
from ggship.cli.step import tell_step
from ggship.cli.subjects import Wanted, open_subjects
from ggship.cli.terminal import Terminal
from ggship.errors import GateFailed

if TYPE_CHECKING:
    from ggship.evals.kept import Kept
    from ggship.evals.report import Report


@click.command()
@click.argument("model", metavar="NAME|PACKAGE|URL#MODEL|hf:RUN")
@click.option("--suite", type=click.Path(path_type=Path), help="Other questions than the package's.")
@click.option(
    "--against", metavar="base|NAME|URL#MODEL|hf:RUN", default="base", show_default=True, help="What to compare with."
)
@base_option
@allow_pickle_option
@gate_option
@likelihood_option
@suite_options
@concurrency_option
@fresh_option
@click.option("--out", type=click.Path(path_type=Path), help="Write report.html, .json, .md and junit.xml there.")
@summary_option
@host_option
@json_option
@click.pass_obj
def eval(
    terminal: Terminal,
    /,
    model: str,
    suite: Path | None,
    against: str,
    gates: tuple[str, ...],
    likelihood: bool,
    out: Path | None,
    host: str | None,
    base: str | None,
    allow_pickle: bool,
    concurrency: int | None,
    fresh: bool,
    tags: tuple[str, ...],
    plugins: tuple[str, ...],
    summary: Path | None,
    **graders: Any,
) -> None:
    """Ask MODEL its suite again and say whether the gates hold (exit 3 where they do not)."""
    from ggship.clock import SystemClock
    from ggship.evals import add_gates, summary_rows
    from ggship.evals.graders import Graders, equip
    from ggship.evals.kept import Kept
    from ggship.evals.load import keep_tagged
    from ggship.evals.plugins import load_plugins
    from ggship.evals.review.store import Reviews
    from ggship.evals.runner import evaluate

    known = load_plugins(plugins)
    with (
        terminal.steps() as steps,
        open_subjects(terminal, steps, Wanted(model, against, suite, host, base, allow_pickle)) as asked,
    ):
        questions = add_gates(keep_tagged(asked.suite, tags), gates)
        instruments, used = equip(questions, Graders(**graders, host=host), known)
        kept = Kept(fresh=fresh, on_found=partial(_tell_found, terminal))
        names = {"tuned": asked.tuned.label, "base": asked.base.label if asked.base else "", "judge": "the answers"}
        view = AskingView(terminal, steps, names, len(questions.cases), SystemClock())
        with _kept_where_stopped():
            report = evaluate(
                questions,
                asked.tuned,
                asked.base,
                clock=SystemClock(),
                on_case=view.hear,
                special_tokens=asked.tokens,
                rival="base" if against == "base" else "other",
                instruments=instruments,
                used=used,
                kept=kept,
                concurrency=concurrency,
                likelihood=likelihood,
                people=Reviews(asked.tuned.label).humans,
            )
        view.end(summary_rows(report)[0][1])
    if out:
        from ggship.evals.write import write_reports

        write_reports(report, out, suite=questions, suite_path=suite, timings=True, markdown=True)
    tell_step(terminal, report, summary)
    show_report(terminal, report, out)
    if not report.passed:
        reasons = "\n".join(report.verdict.reasons)
        raise GateFailed(f"{report.tuned.label} did not pass", where=reasons, hint=_go_on(terminal, kept))


def _go_on(terminal: Terminal, kept: Kept) -> str:
    """What to type where answers are missing; says where they could not be kept."""
    if kept.trouble:
        terminal.warn(f"answers cannot be kept, so an evaluation that is stopped begins anew: {kept.trouble}")
    return "run the same command again: it asks only what is missing" if kept.unfinished else ""


@contextmanager
def _kept_where_stopped() -> Iterator[None]:
    """Ctrl-C says that what was answered is not lost."""
    from ggship.cli.funnel import Stopped

    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped("What was answered is kept: the same command asks only the rest.") from stop


def _tell_found(terminal: Terminal, side: str, count: int) -> None:
    """Say that answers of another time are used."""
    what = "of the model compared with" if side == "base" else "of an evaluation that was not finished"
    terminal.note(f"{count} {'answer' if count == 1 else 'answers'} {what} are kept from before; --fresh asks again")


def show_report(terminal: Terminal, report: Report, out: Path | None) -> None:
    """Scores, gates and verdict."""
    from ggship.evals.codec import as_document
    from ggship.evals.summary import summary_rows

    if terminal.as_json:
        terminal.document(as_document(report))
        return
    terminal.say()
    terminal.lines(summary_rows(report))
    if report.passed:
        terminal.say("\npassed", style="bold green")
    if out:
        terminal.say(f"→ {out / 'report.html'}")
