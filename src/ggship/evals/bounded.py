"""Work with a limit on time, done in a child process that is ended when it takes too long.

Python's `re` cannot be stopped from another thread, it holds the interpreter while it matches; neither can a JSON
Schema, which is full of patterns. This is our own code in a process of its own, not an outside program, hence no
Runner. One child serves many questions: about 20 ms to start, well under a millisecond a question.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 2.0
START_SECONDS = 60.0  # a busy machine may be slow to start a process: that is no fault of what is asked


class TookTooLong(Exception):
    """No answer within the limit; the child was ended."""


class Ended(Exception):
    """The child ended by itself."""


class Bounded:
    """A child that runs the script `worker`, which answers each line of JSON with one. Close it when done.

    flags: for the interpreter. hello: a question that shows that it is ready, and is given longer.
    """

    def __init__(self, worker: Path, *, flags: Sequence[str], hello: Any, limit: float = LIMIT_SECONDS) -> None:
        self.limit = limit
        self._command = [sys.executable, *flags, str(worker)]
        self._hello = hello
        self._child: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str] = queue.Queue()

    def ask(self, question: Any) -> dict[str, Any]:
        """The child's answer. TookTooLong or Ended where there is none; the next question starts a new child."""
        if self._child is None:
            self._start()
            self._exchange(self._hello, START_SECONDS)
        return self._exchange(question, self.limit)

    def _exchange(self, question: Any, limit: float) -> dict[str, Any]:
        child = self._child
        assert child is not None
        assert child.stdin is not None
        # The child reads a line before it answers, so a writer cannot block for longer than that; a text beyond the
        # size of a pipe needs no thread of its own.
        try:
            child.stdin.write(json.dumps(question) + "\n")
            child.stdin.flush()
            answer = self._replies.get(timeout=limit)
        except queue.Empty:
            self.close()
            raise TookTooLong from None
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            raise Ended
        reply: dict[str, Any] = json.loads(answer)
        return reply

    def _start(self) -> None:
        child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii", bufsize=1
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


def _pump(child: subprocess.Popen[str], replies: queue.Queue[str]) -> None:
    assert child.stdout is not None
    with child.stdout as lines:
        for line in lines:
            replies.put(line)
    replies.put("")
