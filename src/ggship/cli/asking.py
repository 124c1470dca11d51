"""How an evaluation goes on: on a terminal a row for each model, elsewhere a line now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ggship.cli.terminal import Steps, Terminal

if TYPE_CHECKING:
    from ggship.clock import Clock
    from ggship.evals.runner import CaseDone

EVERY_SECONDS = 30.0
_SHOWN = 18


class AskingView:
    """Hears of each case. names: what the sides (base, tuned, judge) are called; cases: how many each is asked.

    A row has the cases done, their rate, what passed, failed and erred so far, the time spent and the time left;
    answers that were kept from before count for no rate. Without a terminal there is a line for each model that is
    begun, and one every EVERY_SECONDS.
    """

    def __init__(self, terminal: Terminal, steps: Steps, names: Mapping[str, str], cases: int, clock: Clock) -> None:
        self._terminal = terminal
        self._steps = steps
        self._names = names
        self._cases = cases
        self._clock = clock
        self._side = ""
        self._count: Counter[str] = Counter()
        self._asked = 0
        self._began = self._told = 0.0

    def hear(self, done: CaseDone) -> None:
        """One more case was answered, or judged by a model."""
        if done.side != self._side:
            self._begin(done.side)
        self._count["done"] += 1
        self._count[done.outcome or ""] += 1
        self._asked += done.asked
        if done.asked:
            self._steps.advance(1, self._cases)
        else:
            self._steps.skip(1)
        self._steps.tally(self.tally())
        now = self._clock.monotonic()
        if not self._terminal.lively and now - self._told >= EVERY_SECONDS and self._count["done"] < self._cases:
            self._told = now
            self._terminal.note(f"  {self._count['done']} of {self._cases}{self._words(now)}")

    def tally(self) -> str:
        """What came of the cases so far, in signs."""
        signs = (("pass", "✓"), ("fail", "✗"), ("error", "!"))
        return " ".join(f"{self._count[outcome]}{sign}" for outcome, sign in signs if self._count[outcome])

    def end(self, outcome: str = "") -> None:
        """All is done: what came of it."""
        self._steps.done(outcome or ", ".join(self._found()))

    def _begin(self, side: str) -> None:
        if self._side:
            self.end()
        self._side, self._count, self._asked = side, Counter(), 0
        self._began = self._told = self._clock.monotonic()
        name = self._names.get(side, side)
        shown = name if len(name) <= _SHOWN else f"…{name[1 - _SHOWN :]}"
        self._steps.start(f"Judging {shown}" if side == "judge" else f"Asking {shown}", self._cases)

    def _found(self) -> list[str]:
        return [f"{self._count[outcome]} {word}" for outcome, word in _WORDS if self._count[outcome]]

    def _words(self, now: float) -> str:
        """For a line in a log: what came of it so far, how fast, and how long it may still take."""
        words = self._found()
        spent, left = now - self._began, self._cases - self._count["done"]
        if self._asked and spent > 0:
            seconds = left * spent / self._asked
            words.append(f"{self._asked / spent:.2g} a second")
            words.append(f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left")
        return "".join(f", {word}" for word in words)


_WORDS = (("pass", "passed"), ("fail", "failed"), ("error", "without a judged answer"))
