"""Regular expressions with a limit on time: a pattern that backtracks for ever is an error and not the end."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType

from ggship.errors import ToolFailed, UsageError
from ggship.evals.bounded import LIMIT_SECONDS, Bounded, Ended, TookTooLong

_WORKER = Path(__file__).with_name("regex_worker.py")


def check_pattern(pattern: str) -> None:
    """Raise UsageError where the pattern is none."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"not a regular expression: {error}", where=pattern) from error


class Patterns:
    """Searches regular expressions in texts, each within `limit` seconds. Use it with `with`, or close it."""

    def __init__(self, limit: float = LIMIT_SECONDS) -> None:
        # -S: a search needs no package, and starts in half the time.
        self._child = Bounded(_WORKER, flags=("-I", "-S"), hello=["", ""], limit=limit)

    def search(self, pattern: str, text: str) -> int | None:
        """Where in the text the pattern is first found, None where it is not. ToolFailed where it takes too long."""
        try:
            reply = self._child.ask([pattern, text])
        except TookTooLong:
            raise ToolFailed(
                f"the regular expression took longer than {self._child.limit:g} s and was stopped",
                where=pattern,
                hint="write it without a repeat inside a repeat, such as (a+)+",
            ) from None
        except Ended:
            raise ToolFailed("the process that matches regular expressions ended", where=pattern) from None
        if "error" in reply:
            raise ToolFailed(f"the regular expression failed: {reply['error']}", where=pattern)
        at: int | None = reply["at"]
        return at

    def close(self) -> None:
        """End the child process, if there is one."""
        self._child.close()

    def __enter__(self) -> Patterns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
