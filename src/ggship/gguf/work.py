"""The work of a pool, kept in order: results are taken as they were put, and written bytes checked at the end."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ggship.gguf.chunks import ChunkWorker

_WAITING_PER_THREAD = 4


class Queue:
    """Runs work in a pool, so much of it ahead, and takes the results in the order they were put."""

    def __init__(self, pool: ThreadPoolExecutor, threads: int) -> None:
        self._pool = pool
        self._ahead = threads * _WAITING_PER_THREAD
        self._waiting: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()

    def put(self, work: Callable[[], Any], take: Callable[[Any], None] | None = None) -> None:
        """Have it done; `take` hears the result in its turn."""
        while len(self._waiting) >= self._ahead:
            self._take()
        self._waiting.append((self._pool.submit(work), take or _ignore))

    def drain(self) -> None:
        """Wait until all is done."""
        while self._waiting:
            self._take()

    def _take(self) -> None:
        future, take = self._waiting.popleft()
        take(future.result())


class Checks:
    """What is read back at the end, three numbers each: (offset, count, checksum), (source, target, count)."""

    def __init__(self) -> None:
        self.written = array("Q")
        self.copied = array("Q")

    def put(self, queue: Queue, worker: ChunkWorker) -> None:
        """Have all of it checked."""
        for numbers, check in ((self.written, worker.check), (self.copied, worker.check_copy)):
            for at in range(0, len(numbers), 3):
                queue.put(bound(check, *numbers[at : at + 3]))


def bound(call: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """The call with these arguments, for later: a lambda in a loop would see the last ones."""
    return lambda: call(*arguments)


def _ignore(*_: Any) -> None:
    return None
