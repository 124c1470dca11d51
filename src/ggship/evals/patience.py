"""Asking again where a question certainly was not taken up, and never where an answer may have been half made."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ggship.clock import Clock
from ggship.errors import ServerError, ServerUnreachable
from ggship.runtimes.model import Answer, ChatOptions, Endpoint, Message

WAITS = (0.5, 1.0, 2.0)
LONGEST_WAIT = 60.0
MOST_WAITED = 300.0
NOT_TAKEN = (429, 503)
"""Statuses of a server that did not begin: too many requests, too busy."""


class Patience:
    """Waits and asks again: a refused connection, and the statuses NOT_TAKEN; as long as Retry-After says, or WAITS.

    Three times for each question, none longer than LONGEST_WAIT, and MOST_WAITED seconds for all of them together. A
    connection that broke, or an answer that took too long, is never asked for again: the server may still be at it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = MOST_WAITED
        self._lock = threading.Lock()

    def ask(self, endpoint: Endpoint, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """The answer. Raises the last ServerError where there is none."""
        for wait in WAITS:
            try:
                return endpoint.chat(messages, options)
            except ServerError as error:
                pause = pause_after(error, wait)
                if pause is None or not self._take(pause):
                    raise
                self._clock.sleep(pause)
        return endpoint.chat(messages, options)

    def _take(self, pause: float) -> bool:
        with self._lock:
            self._left -= pause
            return self._left >= 0


def pause_after(error: ServerError, wait: float) -> float | None:
    """How many seconds to wait before the question is asked again; None where it must not be."""
    if isinstance(error, ServerUnreachable):
        return wait
    if error.status not in NOT_TAKEN:
        return None
    wanted = wait if error.retry_after is None else max(0.0, error.retry_after)
    return wanted if wanted <= LONGEST_WAIT else None
