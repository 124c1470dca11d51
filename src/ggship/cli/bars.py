"""Progress bars, drawn only where stderr is a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ggship.cli.terminal import Steps, harmless


class AmountColumn(ProgressColumn):
    """How much is done, of how much, and how fast; in bytes or in counted things."""

    def render(self, task: Task) -> Text:
        """The words beside the bar."""
        if task.finished or task.total is None:
            return Text(str(task.fields.get("outcome", "")), style="dim")
        unit = task.fields.get("unit", "")
        if unit == "bytes":
            rate = f" {decimal(int(task.speed))}/s" if task.speed else ""
            return Text(f"{decimal(int(task.completed))} of {decimal(int(task.total))}{rate}", style="dim")
        rate = f" {task.speed:.1f}/s" if task.speed and task.speed >= 0.1 else ""
        words = Text(f"{task.completed:.0f}/{task.total:.0f} {unit}{rate}".rstrip(), style="dim")
        return words.append(f" {tally}") if (tally := task.fields.get("tally", "")) else words


def make_progress(console: Console) -> Progress:
    """A calm set of columns that fits into 80."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        AmountColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
    )


class BarSteps(Steps):
    """One bar a step; a finished one shows what came of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = None if not progress.tasks else progress.tasks[-1].id

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        """Add a bar."""
        self._task = self._progress.add_task(harmless(title), total=total, unit=unit, outcome="")

    def advance(self, amount: float = 1, total: float | None = None) -> None:
        """Move the bar."""
        if self._task is not None:
            if total is not None:
                self._progress.update(self._task, total=total)
            self._progress.advance(self._task, amount)

    def skip(self, amount: float = 1) -> None:
        """Move the bar, and begin to measure its speed anew."""
        if self._task is not None:
            task = self._progress.tasks[-1]
            self._progress.reset(self._task, completed=int(task.completed + amount), total=task.total)

    def tally(self, text: str) -> None:
        """Show it behind the count."""
        if self._task is not None:
            self._progress.update(self._task, tally=harmless(text))

    def done(self, outcome: str = "") -> None:
        """Fill the bar and say what came of it."""
        if self._task is not None:
            task = self._progress.tasks[-1]
            total = task.total or 1
            self._progress.update(self._task, total=total, completed=total, outcome=harmless(outcome))
