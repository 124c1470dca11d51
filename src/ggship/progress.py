"""How a job of several steps tells how it goes on, and what turns the house's callbacks into steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Hears how a job of several steps goes on."""

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        """A step begins: `total` in `unit` ("bytes", or what is counted), None where it is not known."""
        ...

    def advance(self, amount: float = 1, total: float | None = None) -> None:
        """So much more of the step is done."""
        ...

    def done(self, outcome: str = "") -> None:
        """The step ended."""
        ...


class Silent:
    """A Progress that says nothing."""

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        """Say nothing."""

    def advance(self, amount: float = 1, total: float | None = None) -> None:
        """Say nothing."""

    def done(self, outcome: str = "") -> None:
        """Say nothing."""


def counting(progress: Progress) -> Callable[[int, int], None]:
    """A callback of (done, total) that moves the step by what is new."""
    seen = 0

    def advance(done: int, total: int) -> None:
        nonlocal seen
        progress.advance(done - seen, total)
        seen = done

    return advance


class ByStatus:
    """A callback of (status, completed bytes, total bytes) that makes a step of each status, with a rate of its own.

    title: in front of the status, "Creating the model: uploading"; what has no size (parsing, writing) is then one step
    of that title alone. Without it a step is called as its status is.
    """

    def __init__(self, progress: Progress, title: str = "") -> None:
        self._progress = progress
        self._title = title
        self._step: str | None = None
        self._completed = 0

    def __call__(self, status: str, completed: int, total: int) -> None:
        """Go on with the step of that status; a smaller amount than before is that of another file."""
        if status == "success":
            return
        step = self._name(status, total)
        if step != self._step or (total and completed < self._completed):
            self._end()
            self._progress.start(step, total or None, "bytes" if total else "")
            self._step, self._completed = step, 0
        if total:
            self._progress.advance(completed - self._completed, total)
            self._completed = completed

    def done(self, outcome: str = "") -> None:
        """All of it ended: what came of it."""
        if self._step is None and not (self._title or outcome):
            return
        if self._step is None:
            self._progress.start(self._title)
        self._step = None
        self._progress.done(outcome)

    def _name(self, status: str, total: int) -> str:
        if not self._title:
            return status
        return f"{self._title}: {status}" if total else self._title

    def _end(self) -> None:
        if self._step is not None:
            self._progress.done()


class Reading:
    """A callback of bytes read, whose step begins at the first of them: what needs no reading shows no step."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress = progress
        self._title = title
        self._total = total
        self._began = False

    def __call__(self, count: int) -> None:
        """So many bytes more were read."""
        if not self._began:
            self._progress.start(self._title, self._total, "bytes")
            self._began = True
        self._progress.advance(count)

    def done(self) -> None:
        """All is read."""
        if self._began:
            self._progress.done()
