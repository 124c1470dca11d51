"""`ggship eval`: ask a model its suite again, beside its base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ggship.cli.options import host_option, json_option
from ggship.cli.terminal import Terminal
from ggship.errors import GateFailed

if TYPE_CHECKING:
    from ggship.evals.report import Report
    from ggship.evals.suite import Suite
    from ggship.runtimes.model import Endpoint


@click.command()
@click.argument("model", metavar="NAME|PACKAGE|URL#MODEL")
@click.option("--suite", type=click.Path(path_type=Path), show_envvar=True, help="Other questions than the package's.")
@click.option(
    "--against", metavar="base|NAME|URL#MODEL", default="base", show_default=True, help="What to compare with."
)
@click.option("--gate", "gates", multiple=True, metavar="EXPR", help="One more rule: 'pass_rate >= 0.9'")
@click.option("--out", type=click.Path(path_type=Path), help="Write report.html, report.json and junit.xml there.")
@host_option
@json_option
@click.pass_obj
def eval(
    terminal: Terminal,
    model: str,
    suite: Path | None,
    against: str,
    gates: tuple[str, ...],
    out: Path | None,
    host: str | None,
) -> None:
    """Ask MODEL its suite again and say whether the gates hold (exit 3 where they do not)."""
    from ggship.clock import SystemClock
    from ggship.evals import add_gates
    from ggship.evals.runner import evaluate
    from ggship.evals.write import write_reports

    with _subjects(terminal, model, against, suite, host) as (tuned, base, questions, tokens):
        questions = add_gates(questions, gates) if gates else questions
        with terminal.steps() as steps:
            steps.start(f"Asking {tuned.label}", len(questions.cases), "answers")
            report = evaluate(
                questions,
                tuned,
                base,
                clock=SystemClock(),
                on_case=lambda done: steps.advance(1, done.total),
                special_tokens=tokens,
                rival="base" if against == "base" else "other",
            )
            steps.done(f"{report.tuned.passes} of {len(questions.cases)} passed")
    if out:
        write_reports(report, out, suite=questions, suite_path=suite, timings=True)
    show_report(terminal, report, out)
    if not report.passed:
        raise GateFailed(f"{tuned.label} did not pass", where="\n".join(report.verdict.reasons))


@contextmanager
def _subjects(
    terminal: Terminal, model: str, against: str, suite: Path | None, host: str | None
) -> Iterator[tuple[Endpoint, Endpoint | None, Suite, tuple[str, ...]]]:
    from ggship.evals.load import load_suite
    from ggship.evals.smoke import smoke_suite
    from ggship.releases import load_package
    from ggship.releases.opened import open_other, open_package
    from ggship.runtimes.endpoints import parse_endpoint

    with ExitStack() as stack:
        if "#" in model:
            questions = load_suite(suite) if suite else smoke_suite()
            base = None if against == "base" else stack.enter_context(open_other(against, host=host))
            yield parse_endpoint(model), base, questions, ()
            return
        info = load_package(model)
        packed = suite or info.file("eval/suite.yaml")
        questions = load_suite(packed) if packed else smoke_suite()
        opened = stack.enter_context(open_package(info, host=host, with_base=against == "base"))
        base = opened.base if against == "base" else stack.enter_context(open_other(against, host=host or info.host))
        if base is None:
            terminal.warn(opened.base_missing)
        yield opened.tuned, base, questions, tuple(info.document["prompt"].get("special_tokens", ()))


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
