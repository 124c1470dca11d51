"""Regular expressions with a limit on time: a pattern that backtracks for ever is an error and not the end.

Python's `re` cannot be stopped from another thread, it holds the interpreter while it matches. So matching is done in a
child process (one for many patterns, about 20 ms to start, well under a millisecond a match), which is ended when it
takes too long. This is our own code in a process of its own, not an outside program, hence no Runner.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from ggship.errors import ToolFailed, UsageError

LIMIT_SECONDS = 2.0
START_SECONDS = 60.0  # a busy machine may be slow to start a process: that is no fault of the pattern
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
        self._limit = limit
        self._child: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str] = queue.Queue()

    def search(self, pattern: str, text: str) -> int | None:
        """Where in the text the pattern is first found, None where it is not. ToolFailed where it takes too long."""
        reply = self._ask(json.dumps([pattern, text]))
        if "error" in reply:
            raise ToolFailed(f"the regular expression failed: {reply['error']}", where=pattern)
        at: int | None = reply["at"]
        return at

    def _ask(self, line: str) -> dict[str, Any]:
        if self._child is None:
            self._start()
            self._exchange(json.dumps(["", ""]), START_SECONDS)
        return self._exchange(line, self._limit)

    def _exchange(self, line: str, limit: float) -> dict[str, Any]:
        child = self._child
        assert child is not None
        assert child.stdin is not None
        # The child reads a line before it answers, so a writer cannot block for longer than that; a text beyond the
        # size of a pipe needs no thread of its own.
        try:
            child.stdin.write(line + "\n")
            child.stdin.flush()
            answer = self._replies.get(timeout=limit)
        except queue.Empty:
            self.close()
            raise ToolFailed(
                f"the regular expression took longer than {limit:g} s and was stopped",
                where=json.loads(line)[0],
                hint="write it without a repeat inside a repeat, such as (a+)+",
            ) from None
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            raise ToolFailed("the process that matches regular expressions ended", where=json.loads(line)[0])
        reply: dict[str, Any] = json.loads(answer)
        return reply

    def _start(self) -> None:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
            bufsize=1,
        )
        replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_pump, args=(child, replies), daemon=True).start()
        self._child, self._replies = child, replies

    def close(self) -> None:
        """End the child process, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            if child.stdin:
                with contextlib.suppress(BrokenPipeError):  # what the ended process never read is of no use
                    child.stdin.close()

    def __enter__(self) -> Patterns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pump(child: subprocess.Popen[str], replies: queue.Queue[str]) -> None:
    assert child.stdout is not None
    with child.stdout as lines:
        for line in lines:
            replies.put(line)
    replies.put("")
