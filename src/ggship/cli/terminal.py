"""The terminal: the only way out for the words and bars of every command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


WIDEST = 100
"""Lines longer than that are hard to read, however wide the terminal."""


class Terminal:
    """Prints results on stdout, everything else on stderr.

    With `as_json` only one JSON document reaches stdout. Bars are drawn where stderr is a terminal; elsewhere each
    step is one plain line when it starts and one when it ends.
    """

    def __init__(self) -> None:
        self.as_json = False
        self._console: Console | None = None
        self._errors: Console | None = None

    @property
    def console(self) -> Console:
        """Rich on stdout, made when first needed: importing it takes longer than `--version` may."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False, soft_wrap=False)
        return self._console

    @property
    def log(self) -> Console:
        """Rich on stderr."""
        if self._errors is None:
            from rich.console import Console

            self._errors = Console(stderr=True, highlight=False, soft_wrap=False)
        return self._errors

    @property
    def lively(self) -> bool:
        """Whether bars may be drawn."""
        return sys.stderr.isatty() and not self.as_json and os.environ.get("TERM") != "dumb"

    def note(self, text: str) -> None:
        """One line about what goes on, on stderr."""
        self.log.print(text, markup=False, style="dim", soft_wrap=True)

    def wait_note(self, text: str) -> None:
        """Say who is waited for."""
        self.note(f"{text}; waiting for it to end")

    def warn(self, text: str) -> None:
        """One line that the user should not miss, on stderr."""
        self.log.print(f"warning: {text}", markup=False, style="yellow", soft_wrap=True)

    def document(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """The one JSON document of `--json`, on stdout."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

    def lines(self, rows: Sequence[tuple[str, str]]) -> None:
        """Facts in two columns, on stdout: a dim name, then its value, wrapped under itself."""
        from shutil import get_terminal_size
        from textwrap import wrap

        indent = max((len(name) for name, _ in rows), default=0) + 2
        width = max(30, min(get_terminal_size().columns, WIDEST) - indent)
        for name, value in rows:
            first = click.style(f"{name:<{indent}}", dim=True)
            for line in [part for text in value.splitlines() for part in wrap(text, width)] or [""]:
                click.echo(f"{first}{line}", color=None if self.colours else False)
                first = " " * indent

    @property
    def colours(self) -> bool:
        """Whether stdout is a terminal that wants colours."""
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """One line of the result, on stdout."""
        self.console.print(text, markup=False, style=style, soft_wrap=True)

    @contextmanager
    def steps(self) -> Iterator[Steps]:
        """Progress of a job of several steps, on stderr."""
        if not self.lively:
            yield PlainSteps(self)
            return
        from ggship.cli.bars import BarSteps, make_progress

        progress: Progress = make_progress(self.log)
        with progress:
            yield BarSteps(progress)


class Steps:
    """Progress of a job of several steps: `start`, then `advance` any number of times, then `done`."""

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        """Begin a step. `total` in `unit`: "bytes" shows sizes and rates, anything else counts."""

    def advance(self, amount: float = 1, total: float | None = None) -> None:
        """So much more of the step is done; `total` where it became known only now."""

    def done(self, outcome: str = "") -> None:
        """The step ended: what came of it, in a few words."""


class PlainSteps(Steps):
    """One line a step, for logs and pipes."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._title = ""

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        """Print the title."""
        self._title = title
        if not self._terminal.as_json:
            self._terminal.note(f"{title} ...")

    def done(self, outcome: str = "") -> None:
        """Print what came of it."""
        if outcome and not self._terminal.as_json:
            self._terminal.note(f"{self._title}: {outcome}")
