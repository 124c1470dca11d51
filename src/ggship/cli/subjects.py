"""What `ggship eval` asks: the model that the user named, what it is compared with, and the questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.cli.terminal import Steps, Terminal

if TYPE_CHECKING:
    from ggship.evals.suite import Suite
    from ggship.runtimes.model import Endpoint

RUN = "hf:"


@dataclass(frozen=True, slots=True)
class Wanted:
    """As the user named them. base, allow_pickle: for hf:RUN."""

    model: str
    against: str
    suite: Path | None = None
    host: str | None = None
    base: str | None = None
    allow_pickle: bool = False


@dataclass(frozen=True, slots=True)
class Subjects:
    """Both models and the suite. base is None where there is none to compare with; tokens: none may show in answers."""

    tuned: Endpoint
    base: Endpoint | None
    suite: Suite
    tokens: tuple[str, ...] = ()


@contextmanager
def open_subjects(terminal: Terminal, steps: Steps, wanted: Wanted) -> Iterator[Subjects]:
    """Open what is wanted, and close it again. Warnings go to the terminal."""
    with ExitStack() as stack:
        if wanted.model.startswith(RUN):
            yield _of_run(terminal, steps, wanted, stack)
        elif "#" in wanted.model:
            yield _of_address(steps, wanted, stack)
        else:
            yield _of_package(terminal, steps, wanted, stack)


def _of_run(terminal: Terminal, steps: Steps, wanted: Wanted, stack: ExitStack) -> Subjects:
    from ggship.reference.unpackaged import open_run

    suite = _suite(wanted.suite)
    run = stack.enter_context(
        open_run(
            wanted.model,
            base=wanted.base,
            host=wanted.host,
            allow_pickle=wanted.allow_pickle,
            progress=steps,
        )
    )
    terminal.note(f"base: {run.base_found}")
    base = run.base if wanted.against == "base" else _other(steps, wanted, stack, run.tuned)
    return Subjects(run.tuned, base, suite, run.special_tokens)


def _of_address(steps: Steps, wanted: Wanted, stack: ExitStack) -> Subjects:
    from ggship.runtimes.endpoints import parse_endpoint

    suite = _suite(wanted.suite)
    tuned = parse_endpoint(wanted.model)
    base = None if wanted.against == "base" else _other(steps, wanted, stack, tuned)
    return Subjects(tuned, base, suite)


def _of_package(terminal: Terminal, steps: Steps, wanted: Wanted, stack: ExitStack) -> Subjects:
    from ggship.releases import load_package
    from ggship.releases.opened import open_package

    info = load_package(wanted.model)
    suite = _suite(wanted.suite or info.file("eval/suite.yaml"))
    with_base = wanted.against == "base"
    opened = stack.enter_context(
        open_package(info, host=wanted.host, with_base=with_base, progress=steps, on_wait=terminal.wait_note)
    )
    for warning in opened.warnings:
        terminal.warn(warning)
    base = opened.base if with_base else _other(steps, wanted, stack, opened.tuned, info.host)
    if base is None:
        terminal.warn(opened.base_missing)
    return Subjects(opened.tuned, base, suite, tuple(info.document["prompt"].get("special_tokens", ())))


def _other(steps: Steps, wanted: Wanted, stack: ExitStack, beside: Endpoint, fallback: str | None = None) -> Endpoint:
    from ggship.releases.opened import open_other

    return stack.enter_context(
        open_other(
            wanted.against,
            host=wanted.host,
            fallback=fallback,
            beside=beside,
            base=wanted.base,
            allow_pickle=wanted.allow_pickle,
            progress=steps,
        )
    )


def _suite(path: Path | None) -> Suite:
    from ggship.evals.load import load_suite
    from ggship.evals.smoke import smoke_suite

    return load_suite(path) if path else smoke_suite()
