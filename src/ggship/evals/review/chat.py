"""The chat beside the review: both models asked the same, blind as long as the review is.

Each conversation draws anew which model is its first and which its second, so that nothing learned here tells whose the
answers of a case are. Models are opened when somebody first asks, and given back when nobody has asked for a while:
as long as the base stands beside the tuned model, no other ggship can work on that name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from ggship.clock import Clock
from ggship.errors import Refused, ServerError, UsageError
from ggship.evals.humans import Side
from ggship.evals.review.session import A, B, Session
from ggship.runtimes.model import ChatOptions, Endpoint, Message, Speaker

LONGEST_ANSWER = 1024  # tokens
MOST_CHARACTERS = 100_000  # of an answer: some servers count no tokens
MOST_TURNS = 100
IDLE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Models:
    """Both models, live. base: None where it is not at hand, and then why_no_base says why."""

    tuned: Endpoint
    base: Endpoint | None
    why_no_base: str = ""


Opener = Callable[[], AbstractContextManager[Models]]


class _Enough(Exception):
    """The answer is as long as it may be."""


class Chat:
    """opener: opens both models; None where there are none to be asked, and then `missing` says why."""

    def __init__(self, opener: Opener | None, clock: Clock, *, missing: str = "") -> None:
        self._opener = opener
        self._missing = missing
        self._clock = clock
        self._stack = ExitStack()
        self._models: Models | None = None
        self._last = 0.0
        self._one_at_a_time = threading.Lock()
        self._owner = ThreadPoolExecutor(1)  # file locks are given back by the thread that took them

    def about(self, revealed: bool) -> dict[str, Any]:
        """Whether the page can offer it, and why not."""
        return {"can": self._opener is not None, "why": self._missing, "blind": not revealed}

    def answer(self, session: Session, asked: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Have the model at `place` (A or B) answer; `say` hears it piece by piece.

        asked: conversation (any text, the same for all its turns), place, turns (role and content, the user's last).
        Raises UsageError, Refused where there is no chat, and ServerError where there is no answer.
        """
        conversation, place, turns = _asked(asked)
        with self._one_at_a_time:
            models = self._opened()
            if models.base is None and not session.revealed:
                raise ServerError(
                    "only one of both models can be asked here, and that would tell you whose the answers are",
                    where=models.why_no_base,
                    hint="the chat opens when you have judged all",
                )
            endpoint = _at(models, session.first_of(conversation), place)
            try:
                _speak(endpoint, turns, _bounded(say))
            except _Enough:
                return
            finally:
                self._last = self._clock.monotonic()

    def close(self) -> None:
        """Give the models back."""
        self._models = None
        self._owner.submit(self._stack.close).result()

    def close_if_idle(self) -> None:
        """Give the models back where nobody has asked for a while."""
        if self._models is None or not self._one_at_a_time.acquire(blocking=False):
            return
        try:
            if self._clock.monotonic() - self._last > IDLE_SECONDS:
                self.close()
        finally:
            self._one_at_a_time.release()

    def _opened(self) -> Models:
        if self._models is None:
            if self._opener is None:
                raise Refused(self._missing)
            self._last = self._clock.monotonic()
            self._models = self._owner.submit(self._stack.enter_context, self._opener()).result()
        return self._models


def _speak(endpoint: Endpoint, turns: list[Message], say: Callable[[str], None]) -> None:
    options = ChatOptions(num_predict=LONGEST_ANSWER)
    if isinstance(endpoint, Speaker):
        endpoint.speak(turns, options, say)
    else:
        say(endpoint.chat(turns, options).text)


def _bounded(say: Callable[[str], None]) -> Callable[[str], None]:
    left = MOST_CHARACTERS

    def bounded(piece: str) -> None:
        nonlocal left
        say(piece[:left])
        left -= len(piece)
        if left <= 0:
            raise _Enough

    return bounded


def _at(models: Models, first: Side, place: str) -> Endpoint:
    if models.base is None:
        if place == B:
            raise UsageError("there is one model here")
        return models.tuned
    return models.tuned if (first == "tuned") == (place == A) else models.base


def _asked(asked: Mapping[str, Any]) -> tuple[str, str, list[Message]]:
    conversation, place, turns = asked.get("conversation"), asked.get("place"), asked.get("turns")
    if not isinstance(conversation, str) or not 0 < len(conversation) <= 100 or place not in (A, B):
        raise UsageError("a question goes to A or B of a conversation")
    if not isinstance(turns, list) or not 0 < len(turns) <= MOST_TURNS:
        raise UsageError(f"a conversation has 1 to {MOST_TURNS} turns")
    return conversation, place, [_turn(turn) for turn in turns]


def _turn(turn: Any) -> Message:
    if not isinstance(turn, dict) or turn.get("role") not in ("user", "assistant"):
        raise UsageError("a turn is the user's or the assistant's")
    content = turn.get("content")
    if not isinstance(content, str):
        raise UsageError("a turn has words")
    return Message(role=turn["role"], content=content.encode("utf-8", "replace").decode("utf-8"))
