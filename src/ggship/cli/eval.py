"""`ggship eval`: ask a model its suite again, beside its base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import host_option, json_option, suite_options
from ggship.cli.terminal import Steps, Terminal
from ggship.errors import GateFailed

if TYPE_CHECKING:
    from ggship.evals.report import Report
    from ggship.evals.suite import Suite
    from ggship.runtimes.model import Endpoint


class Rules(click.types.StringParamType):
    """Rules as they are; in an environment variable each on a line, or with semicolons: spaces are part of a rule."""

    name = "rule"

    def split_envvar_value(self, rv: str) -> list[str]:
        """The rules of the variable."""
        return [rule for part in rv.splitlines() for rule in (piece.strip() for piece in part.split(";")) if rule]


@click.command()
@click.argument("model", metavar="NAME|PACKAGE|URL#MODEL")
@click.option("--suite", type=click.Path(path_type=Path), help="Other questions than the package's.")
@click.option(
    "--against", metavar="base|NAME|URL#MODEL", default="base", show_default=True, help="What to compare with."
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    type=Rules(),
    metavar="EXPR",
    help="One more rule: 'pass_rate >= 0.9'. Several in the variable: with semicolons.",
)
@suite_options
@click.option("--out", type=click.Path(path_type=Path), help="Write report.html, report.json and junit.xml there.")
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
    out: Path | None,
    host: str | None,
    tags: tuple[str, ...],
    plugins: tuple[str, ...],
    **graders: Any,
) -> None:
    """Ask MODEL its suite again and say whether the gates hold (exit 3 where they do not)."""
    from ggship.clock import SystemClock
    from ggship.evals import add_gates, summary_rows
    from ggship.evals.graders import Graders, equip
    from ggship.evals.load import keep_tagged
    from ggship.evals.plugins import load_plugins
    from ggship.evals.runner import evaluate
    from ggship.evals.write import write_reports

    known = load_plugins(plugins)
    with (
        terminal.steps() as steps,
        _subjects(terminal, steps, model, against, suite, host) as (tuned, base, questions, tokens),
    ):
        questions = add_gates(keep_tagged(questions, tags), gates)
        instruments, used = equip(questions, Graders(**graders, host=host), known)
        steps.start(f"Asking {tuned.label}", len(questions.cases), "answers")
        report = evaluate(
            questions,
            tuned,
            base,
            clock=SystemClock(),
            on_case=lambda done: steps.advance(1, done.total),
            special_tokens=tokens,
            rival="base" if against == "base" else "other",
            instruments=instruments,
            used=used,
        )
        steps.done(summary_rows(report)[0][1])
    if out:
        write_reports(report, out, suite=questions, suite_path=suite, timings=True)
    show_report(terminal, report, out)
    if not report.passed:
        raise GateFailed(f"{tuned.label} did not pass", where="\n".join(report.verdict.reasons))


@contextmanager
def _subjects(
    terminal: Terminal, steps: Steps, model: str, against: str, suite: Path | None, host: str | None
) -> Iterator[tuple[Endpoint, Endpoint | None, Suite, tuple[str, ...]]]:
    from ggship.evals.load import load_suite
    from ggship.evals.smoke import smoke_suite
    from ggship.releases import load_package
    from ggship.releases.opened import open_other, open_package
    from ggship.runtimes.endpoints import parse_endpoint

    with ExitStack() as stack:
        if "#" in model:
            questions = load_suite(suite) if suite else smoke_suite()
            tuned = parse_endpoint(model)
            base = None if against == "base" else stack.enter_context(open_other(against, host=host, beside=tuned))
            yield tuned, base, questions, ()
            return
        info = load_package(model)
        packed = suite or info.file("eval/suite.yaml")
        questions = load_suite(packed) if packed else smoke_suite()
        opening = open_package(info, host=host, with_base=against == "base", progress=steps, on_wait=terminal.wait_note)
        opened = stack.enter_context(opening)
        for warning in opened.warnings:
            terminal.warn(warning)
        if against == "base":
            base = opened.base
        else:
            base = stack.enter_context(open_other(against, host=host, fallback=info.host, beside=opened.tuned))
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
