"""Locks between processes: the second waits, and says who it waits for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ggship.digests import write_text
from ggship.errors import Busy


@contextmanager
def locked(
    folder: Path, what: str, *, on_wait: Callable[[str], None] | None = None, wait_seconds: float = -1
) -> Iterator[None]:
    """Hold the lock in that folder, which is made; `what` it guards is for words only.

    Another ggship that holds it is waited for (`wait_seconds`; -1 means until it ends). `on_wait` hears, once, who that
    is. Raises Busy when the time is over. The lock ends with its process, however that ends.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock")
    holder = folder / "holder.json"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        words = f"another ggship{_holder(holder)} is at work on {what}"
        if on_wait:
            on_wait(words)
        try:
            lock.acquire(timeout=wait_seconds)
        except filelock.Timeout as error:
            raise Busy(words, hint="run the same command again when it has ended") from error
    try:
        write_text(holder, json.dumps({"pid": os.getpid()}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        return f" (process {json.loads(path.read_text('utf-8'))['pid']})"
    except (OSError, ValueError, KeyError):
        return ""
