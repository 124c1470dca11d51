"""Who does the work of a merge: processes where forking is safe, threads elsewhere.

A chunk's arithmetic is some 40 calls of numpy of 50 microseconds each. Threads hand the interpreter's lock to each
other around every one of them, which on two cores took as long as one thread alone; processes do not meet.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import struct
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NoReturn, Protocol

from ggship.errors import ToolFailed

_AHEAD = 64  # items a worker handed out before the first of them is back: one can take as long as thirty others
_TICKET = struct.Struct("<q")


class Work(Protocol):
    """What is to be done: numbered items, then a look at the result."""

    def do(self, number: int) -> Any:
        """Do one item. What it returns can be pickled, and so can its errors."""
        ...

    def verify(self, part: int, parts: int) -> None:
        """Check one of so many parts of what this process did."""
        ...


class Pool(Protocol):
    """A context manager that does Work; leaving it by an error stops what still runs."""

    def __enter__(self) -> Pool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def results(self, count: int) -> Iterator[Any]:
        """Do the items 0 to count - 1; what they return, in that order. Raises what they raise."""
        ...

    def verify(self) -> None:
        """Have all of it checked. Raises what the checks raise; nothing can be done after it."""
        ...


def pool_of(work: Work, workers: int) -> Pool:
    """So many workers, of the kind that this platform does best with.

    Forking is left to Linux: the system libraries of macOS do not survive it.
    """
    if workers > 1 and sys.platform == "linux":
        return Forks(work, workers)
    return Threads(work, workers)


class Threads:
    """A pool of threads."""

    def __init__(self, work: Work, workers: int) -> None:
        self._work = work
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="ggship-merge")

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def results(self, count: int) -> Iterator[Any]:
        """See Pool."""
        waiting: deque[Future[Any]] = deque()
        for number in range(count):
            if len(waiting) >= self._workers * _AHEAD:
                yield waiting.popleft().result()
            waiting.append(self._pool.submit(self._work.do, number))
        while waiting:
            yield waiting.popleft().result()

    def verify(self) -> None:
        """See Pool."""
        parts = [self._pool.submit(self._work.verify, part, self._workers) for part in range(self._workers)]
        for part in parts:
            part.result()


class Forks:
    """A pool of processes forked from this one, which know the work since they are copies of it.

    They take numbers from one pipe and send results through one of their own. When nobody can write numbers any more,
    they check what they did and end: so they end by themselves, within an item, if this process is killed.
    """

    def __init__(self, work: Work, workers: int) -> None:
        self._work = work
        self._workers = workers
        self._tickets = self._feed = -1
        self._pids: dict[int, int] = {}  # by the pipe of its results
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Forks:
        self._tickets, self._feed = os.pipe()
        try:
            for _ in range(self._workers):
                self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def results(self, count: int) -> Iterator[Any]:
        """See Pool. Raises ToolFailed where a process ends before its time."""
        there: dict[int, Any] = {}
        sent = 0
        for number in range(count):
            while number not in there:
                while sent < min(count, number + self._workers * _AHEAD):
                    os.write(self._feed, _TICKET.pack(sent))
                    sent += 1
                there.update(self._receive())
            yield there.pop(number)

    def verify(self) -> None:
        """See Pool."""
        os.close(self._feed)
        self._feed = -1
        while self._pids:
            self._receive()

    def _start(self) -> None:
        results, answer = os.pipe()
        parent = os.getpid()
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside other threads, for locks that they may hold. The copy takes no lock
            # of theirs: it computes, reads and writes files, and leaves without any clean-up.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            for pipe in (self._feed, results, *self._pids):
                os.close(pipe)
            _live(self._work, self._tickets, answer, parent)
        os.close(answer)
        self._pids[results] = pid
        self._selector.register(results, selectors.EVENT_READ)

    def _receive(self) -> dict[int, Any]:
        """Wait for messages, and take one of each process that has sent any: results by number."""
        received = {}
        for key, _ in self._selector.select():
            number, result, trace = _read(key.fd) or (None, None, None)
            if isinstance(result, BaseException):
                raise result from RuntimeError(f"in a worker process:\n{trace}")
            if number is None:
                raise self._died(key.fd)
            if number < 0:
                self._reap(key.fd)
            else:
                received[number] = result
        return received

    def _died(self, pipe: int) -> ToolFailed:
        status = self._reap(pipe)
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"code {os.waitstatus_to_exitcode(status)}"
        return ToolFailed(
            "a process that merges ended before its time",
            where=f"it ended with {how}",
            hint="if it was killed for memory, close other programs, and run the same command again",
        )

    def _reap(self, pipe: int) -> int:
        self._selector.unregister(pipe)
        os.close(pipe)
        return os.waitpid(self._pids.pop(pipe), 0)[1]

    def _end(self) -> None:
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for pipe in list(self._pids):
            self._reap(pipe)
        for end in (self._tickets, self._feed):
            if end >= 0:
                os.close(end)
        self._tickets = self._feed = -1
        self._selector.close()


def _live(work: Work, tickets: int, answer: int, parent: int) -> NoReturn:
    """The life of a forked process. Ctrl-C is its parent's to hear, who ends it; without a parent it does nothing."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            while os.getppid() == parent and (ticket := os.read(tickets, _TICKET.size)):
                (number,) = _TICKET.unpack(ticket)
                _write(answer, (number, work.do(number), ""))
            if os.getppid() == parent:
                work.verify(0, 1)
                _write(answer, (-1, None, ""))
        except BaseException as error:
            _write(answer, (-1, error, traceback.format_exc()))
    finally:
        os._exit(0)


def _write(pipe: int, message: tuple[int, Any, str]) -> None:
    data = pickle.dumps(message)
    view = memoryview(_TICKET.pack(len(data)) + data)
    while view:
        view = view[os.write(pipe, view) :]


def _read(pipe: int) -> Any:
    """The next message; None where the process at the other end is gone."""
    size = _read_bytes(pipe, _TICKET.size)
    data = _read_bytes(pipe, *_TICKET.unpack(size)) if size else None
    return pickle.loads(data) if data else None


def _read_bytes(pipe: int, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = os.read(pipe, count - len(data))
        if not more:
            return None
        data += more
    return data
