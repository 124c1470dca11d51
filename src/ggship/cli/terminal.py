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

    from ggship.runs.findings import Finding


WIDEST = 100
"""Lines longer than that are hard to read, however wide the terminal."""


def harmless(text: str) -> str:
    """The text with what would act on a terminal made visible: it may come from a model, a server or a stranger's file.

    Line feeds and tabs stay. The rules are those of the reports; importing them takes time, so plain text does without.
    """
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    from ggship.evals.odd import escape_odd

    return escape_odd(text)


class Terminal:
    """Prints results on stdout, everything else on stderr; no text can act on the terminal.

    With `as_json` only one JSON document reaches stdout. Bars are drawn where stderr is a terminal; elsewhere, and with
    `as_json`, each step is one plain line when it starts and one when it ends.
    """

    def __init__(self) -> None:
        self.as_json = False
        self._collected: list[Any] | None = None
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
        self._print(harmless(text), "dim", err=True)

    def wait_note(self, text: str) -> None:
        """Say who is waited for."""
        self.note(f"{text}; waiting for it to end")

    def warn(self, text: str) -> None:
        """One line that the user should not miss, on stderr."""
        self._print(f"warning: {harmless(text)}", "yellow", err=True)

    def ask(self, why: str, question: str) -> str:
        """What the user types; "" where nobody can be asked: no terminal, or JSON is wanted."""
        if not (self.lively and sys.stdin.isatty()):
            return ""
        import click

        self.log.print(harmless(why), markup=False, soft_wrap=True)
        return str(click.prompt(question, default="", show_default=False, err=True)).strip()

    def document(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """The one JSON document of `--json`, on stdout; or one of several that become one, see `collected`."""
        if self._collected is not None:
            self._collected.append(value)
            return
        text = json.dumps(value, ensure_ascii=False, indent=2)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # half a surrogate pair, or a stdout that knows few characters
            text = json.dumps(value, indent=2)
        sys.stdout.write(text + "\n")

    @contextmanager
    def collected(self, *, as_json: bool | None = None) -> Iterator[list[Any]]:
        """The documents that commands would print meanwhile, for one that runs several of them.

        as_json: whether they are to, whatever the user asked for.
        """
        before = self._collected, self.as_json
        documents: list[Any] = []
        self._collected = documents
        if as_json is not None:
            self.as_json = as_json
        try:
            yield documents
        finally:
            self._collected, self.as_json = before

    def lines(self, rows: Sequence[tuple[str, str]]) -> None:
        """Facts in two columns, on stdout: a dim name, then its value, on a terminal wrapped under itself."""
        from shutil import get_terminal_size

        indent = max((len(name) for name, _ in rows), default=0) + 2
        width = max(30, min(get_terminal_size().columns, WIDEST) - indent) if sys.stdout.isatty() else 0
        for name, value in rows:
            first = click.style(f"{harmless(name):<{indent}}", dim=True)
            for line in [part for text in harmless(value).splitlines() for part in _wrapped(text, width)] or [""]:
                click.echo(f"{first}{line}", color=None if self.colours else False)
                first = " " * indent

    @property
    def colours(self) -> bool:
        """Whether stdout is a terminal that wants colours."""
        return sys.stdout.isatty() and _colours() is None

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """One line of the result, on stdout."""
        self._print(harmless(text), style or "", err=False)

    def _print(self, text: str, style: str, *, err: bool) -> None:
        """Through rich where it is in use, since its bars must know of each line; else without: it takes 0.05 s."""
        console = self._errors if err else self._console
        if console is not None:
            console.print(text, markup=False, emoji=False, style=style, soft_wrap=True)
            return
        words = style.split()
        colour = next((word for word in words if word not in ("dim", "bold")), None)
        styled = click.style(text, fg=colour, dim="dim" in words or None, bold="bold" in words or None)
        click.echo(styled if style else text, err=err, color=_colours())

    def raw(self, text: str) -> None:
        """Text for a file or a pipe on stdout, character for character; on a terminal what could act on it is shown."""
        shown = harmless(text) if sys.stdout.isatty() else text
        sys.stdout.buffer.write(shown.encode("utf-8", "backslashreplace"))
        sys.stdout.flush()

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


def warn_of(terminal: Terminal, found: Sequence[Finding], *, strict: bool = False) -> None:
    """A line for each warning among the findings; errors stop by themselves, notes stand in ggship.json.

    strict: raise Refused instead, where there is any warning.
    """
    if strict:
        from ggship.runs.findings import refuse_warnings

        refuse_warnings(found)
    for finding in found:
        if finding.level == "warning":
            terminal.warn(f"{finding} ({finding.fix})")


def _colours() -> bool | None:
    """For click: whether a stream that is a terminal gets colours; others never do."""
    return False if os.environ.get("NO_COLOR") else None


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` (0: as long as it is). What one types is never broken: not `→ a command`, not a word."""
    from textwrap import wrap

    if not width or text.lstrip().startswith("→"):
        return [text]
    return wrap(text, width, break_on_hyphens=False, break_long_words=False)


class Steps:
    """Progress of a job of several steps: `start`, then `advance` any number of times, then `done`."""

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        """Begin a step. `total` in `unit`: "bytes" shows sizes and rates, anything else counts."""

    def advance(self, amount: float = 1, total: float | None = None) -> None:
        """So much more of the step is done; `total` where it became known only now."""

    def skip(self, amount: float = 1) -> None:
        """So much was done before: it counts as done, and for no rate."""

    def tally(self, text: str) -> None:
        """What came of the step so far, in a few signs."""

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
        self._terminal.note(f"{title} ...")

    def done(self, outcome: str = "") -> None:
        """Print what came of it."""
        if outcome:
            self._terminal.note(f"{self._title}: {outcome}")
