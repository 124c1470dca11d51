"""`ggship bench`: what a server gives when several people ask at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import Rules, host_option, json_option
from ggship.cli.terminal import Steps, Terminal
from ggship.errors import GateFailed, ServerError

if TYPE_CHECKING:
    from ggship.evals.bench.plan import BenchPlan
    from ggship.evals.bench.report import BenchReport, Level
    from ggship.evals.suite import Suite
    from ggship.runtimes.model import Endpoint


def _levels(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    from ggship.evals.bench.plan import parse_concurrency

    return parse_concurrency(value)


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    from ggship.evals.bench.plan import parse_duration

    return parse_duration(value, param.opts[0])


@click.command()
@click.argument("model", metavar="NAME|PACKAGE|URL#MODEL")
@click.option(
    "--concurrency",
    default="1,2,4,8",
    show_default=True,
    callback=_levels,
    metavar="N,N,...",
    help="How many ask at once, level after level.",
)
@click.option(
    "--duration",
    default="30s",
    show_default=True,
    callback=_seconds,
    metavar="TIME",
    help="How long each level is measured.",
)
@click.option(
    "--max-requests",
    type=click.IntRange(1, 100_000),
    default=100_000,
    metavar="N",
    help="End a level after N answers, if that is sooner.",
)
@click.option("--suite", type=click.Path(path_type=Path), help="Other questions than the package's.")
@click.option("--tokens", type=click.IntRange(1, 1_000_000), metavar="N", help="The longest answer, in tokens.")
@click.option("--unmarked", is_flag=True, help="Ask the very same questions again; the prompt cache then helps.")
@click.option(
    "--timeout",
    default="2m",
    show_default=True,
    callback=_seconds,
    metavar="TIME",
    help="An answer that takes longer is an error.",
)
@click.option(
    "--limit", default="30m", show_default=True, callback=_seconds, metavar="TIME", help="End everything after that."
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    type=Rules(),
    metavar="EXPR",
    help="A rule for every level, 'p95_latency <= 2', or for one: 'c4.tokens_per_s >= 100'.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write bench.json and bench.html there.")
@host_option
@json_option
@click.pass_obj
def bench(
    terminal: Terminal,
    /,
    model: str,
    suite: Path | None,
    unmarked: bool,
    gates: tuple[str, ...],
    out: Path | None,
    host: str | None,
    **bounds: Any,
) -> None:
    """Ask MODEL from several streams at once: rates, percentiles, errors.

    \b
    ggship bench law-helper --concurrency 1,2,4 --duration 10s
    """
    from ggship.evals.bench import BenchPlan, questions_of, write_bench
    from ggship.evals.bench import bench as measure

    plan = BenchPlan(marked=not unmarked, **bounds)
    with terminal.steps() as steps, _subject(model, suite, host) as (endpoint, questions):
        progress = _Progress(steps, plan)
        report = measure(
            endpoint, questions_of(questions), plan, gates=gates, on_level=progress.level, on_tick=progress.tick
        )
    if out:
        write_bench(report, out)
    _show(terminal, report, out)
    _end(report)


@contextmanager
def _subject(model: str, suite: Path | None, host: str | None) -> Iterator[tuple[Endpoint, Suite | None]]:
    """The endpoint to ask, and the questions: those named, those of its package, or none."""
    from ggship.errors import UnknownName
    from ggship.evals.load import load_suite
    from ggship.releases import find_package
    from ggship.releases.opened import open_other

    packed: Path | None = None
    if suite is None and "#" not in model:
        try:
            packed = find_package(model) / "eval" / "suite.yaml"
        except UnknownName:
            packed = None  # a model that the server holds, or nothing: then opening it says so
    file = suite or (packed if packed and packed.is_file() else None)
    questions = load_suite(file) if file else None
    with open_other(model, host=host) as endpoint:
        yield endpoint, questions


class _Progress:
    """A bar for each level."""

    def __init__(self, steps: Steps, plan: BenchPlan) -> None:
        self._steps = steps
        self._plan = plan
        self._seen = 0.0

    def level(self, streams: int, level: Level | None) -> None:
        """A level begins, or ended."""
        from ggship.evals.bench.words import figure

        if level is None:
            self._seen = 0.0
            self._steps.start(f"{streams} at once", self._plan.duration, "s")
            return
        self._steps.done(f"{level.answers} answers, {figure(level.tokens_per_s)} tokens/s")

    def tick(self, seconds: float) -> None:
        """So long its window is open."""
        self._steps.advance(seconds - self._seen)
        self._seen = seconds


def _show(terminal: Terminal, report: BenchReport, out: Path | None) -> None:
    from ggship.evals.bench.codec import as_document
    from ggship.evals.bench.words import rows, table

    if terminal.as_json:
        terminal.document(as_document(report))
        return
    terminal.say()
    for number, line in enumerate(table(report.levels)):
        terminal.say(line, style="dim" if number < 2 else None)
    terminal.say()
    terminal.lines(rows(report))
    if out:
        terminal.say(f"\n→ {out / 'bench.html'}")


def _end(report: BenchReport) -> None:
    """The exit code: what was measured has been shown by now."""
    if report.stopped == "interrupted":
        from ggship.cli.funnel import Stopped

        raise Stopped("Above is what was measured until then.")
    asked = [level for level in report.levels if level.errors]
    if asked and not any(level.answers for level in report.levels):
        raise ServerError(
            f"{report.model} gave no answer",
            where="\n".join(f"{one.kind}: {one.example}" for one in asked[0].failures),
            hint="ask it once: ggship eval shows what it says",
        )
    if report.stopped == "server gone":
        raise ServerError(
            f"{report.model} was gone before all was measured", hint="look after the server, run it again"
        )
    if not report.passed:
        failed = [gate.rule for gate in report.gates if not gate.passed]
        raise GateFailed(f"{report.model} under load did not pass", where="\n".join(failed))
