"""`ggship package --all-checkpoints`: each checkpoint as a candidate, one table, the best goes live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ggship.cli.package import base_choice, show_shipped
from ggship.cli.terminal import Terminal, harmless, warn_of

if TYPE_CHECKING:
    from ggship.candidates import Candidate, Compared, Prepared
    from ggship.plan import PackageOptions
    from ggship.runtimes.model import Runtime

_HEADINGS = ("checkpoint", "loss", "eval loss", "passed", "score", "vs base", "survival", "verdict")


def package_checkpoints(terminal: Terminal, options: PackageOptions, runtime: Runtime | None, *, dry_run: bool) -> None:
    """Make and ask all, show them in one table, and make the best live where its proof holds."""
    from ggship.candidates import compare_checkpoints, need_comparable, prepare_candidates, ship_best
    from ggship.errors import GateFailed

    need_comparable(options, runtime)
    assert runtime is not None
    prepared = prepare_candidates(options, runtime=runtime)
    for finding in dict.fromkeys(finding for one in prepared if one.job for finding in one.job.findings):
        warn_of(terminal, [finding])
    if dry_run:
        _show_plan(terminal, options, prepared)
        return
    with _stopping(), terminal.steps() as steps:
        compared = compare_checkpoints(
            prepared, progress=steps, on_candidate=_counting(terminal), on_wait=terminal.wait_note
        )
    if not terminal.as_json:
        show_table(terminal, compared.candidates, compared.best)
    try:
        with _stopping() as begun, terminal.steps() as steps:
            shipped = ship_best(
                compared, options.out, progress=steps, on_start=begun.append, on_wait=terminal.wait_note
            )
    except GateFailed:
        if terminal.as_json:
            terminal.document(compared.document(None))
        raise
    _say_choice(terminal, compared)
    show_shipped(terminal, shipped)


def show_table(terminal: Terminal, candidates: Sequence[Candidate], best: Candidate | None = None) -> None:
    """A line for each candidate, the best marked, and under it why one was refused; no column that says nothing."""
    rows = [_HEADINGS, *(_row(one, one is best) for one in candidates)]
    said = [number for number in range(len(_HEADINGS)) if any(row[number] != "-" for row in rows[1:])]
    rows = [tuple(row[number] for number in said) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(said))]
    terminal.say()
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)),
        ]
        terminal.say("  ".join((*cells, row[-1])))
    for one in candidates:
        if one.refused:
            terminal.say(f"{one.name}: {harmless(one.refused)}", style="dim")


def _row(one: Candidate, best: bool) -> tuple[str, ...]:
    from ggship.evals.summary import percent

    delta = "-" if one.delta is None else f"{100 * one.delta:+.1f}"
    score = "-" if one.score is None else f"{one.score:.3f}"
    survival = "-" if one.survival is None else f"{one.survival:.3f}"
    losses = ("-" if loss is None else f"{loss:.4f}" for loss in (one.loss, one.eval_loss))
    verdict = ("best" if one.passed else f"{one.verdict}, best") if best else one.verdict
    rate = "-" if one.pass_rate is None else percent(one.pass_rate)
    return (one.name, *losses, rate, score, delta, survival, verdict)


def _say_choice(terminal: Terminal, compared: Compared) -> None:
    if terminal.as_json:
        return
    from ggship.candidates import CAUTION, RULE

    terminal.say()
    terminal.lines([("chosen", f"{compared.best.name}: {RULE}"), ("note", CAUTION)])


def _show_plan(terminal: Terminal, options: PackageOptions, prepared: Sequence[Prepared]) -> None:
    from ggship.candidates import needs_of
    from ggship.cli.summary import base_rows, fingerprint_row

    needs = needs_of(prepared)
    first = next(one.job for one in prepared if one.job)
    if terminal.as_json:
        shown = [{"name": one.known.name, "step": one.known.step, "refused": one.known.refused} for one in prepared]
        chosen = {"base": first.base.ref, "base_choice": base_choice(first.base), "prompt": first.prompt.document()}
        terminal.document({**first.plan.document(), **chosen, "candidates": shown, "needs": needs.document()})
        return
    assert first.suite is not None
    asked = len(first.suite.cases)
    terminal.lines(
        [
            ("candidates", ", ".join(one.known.name for one in prepared)),
            *((f"refused {one.known.name}", one.known.refused) for one in prepared if one.known.refused),
            *base_rows(first.base),
            *fingerprint_row(first.fingerprint),
            *first.reasons(),
            ("verified", "; ".join(first.verifications())),
            ("asked", f"{asked} cases of {first.suite.name} of each candidate, and once of the base"),
            *needs.rows(),
            ("packages", f"{options.folder}-CHECKPOINT each, and the best as {options.folder}"),
        ]
    )
    terminal.say("\nNothing was done. Leave --dry-run out to do it.")


def _counting(terminal: Terminal) -> Callable[[str, int, int], None]:
    return lambda name, number, of: terminal.note(f"{name} ({number} of {of})")


@contextmanager
def _stopping() -> Iterator[list[str]]:
    """Ctrl-C before the promotion says that nothing live was changed. Yields the stages that began."""
    from ggship.cli.funnel import Stopped

    begun: list[str] = []
    try:
        yield begun
    except KeyboardInterrupt as stop:
        raise Stopped("" if "promote" in begun else "Nothing live was changed.") from stop
