"""What is asked once and told as often as it is needed: a model that several others are compared with, and a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from ggship.digests import digest_of
from ggship.errors import GgshipError, ServerError
from ggship.evals.instruments import Judge, Verdict
from ggship.runtimes.model import Answer, ChatOptions, Endpoint, Forced, Message


class Once:
    """An endpoint that asks the one inside every question once and then tells the answer, or the error, again.

    Times are those of the one time that it was asked. After `shut` nothing reaches the one inside any more.
    """

    def __init__(self, inside: Endpoint) -> None:
        self.label = inside.label
        self.model = inside.model
        self.at_once: int = getattr(inside, "at_once", 1)
        self.most_at_once: int | None = getattr(inside, "most_at_once", None)
        setting = getattr(inside, "setting", None)
        self.setting = None if setting is None else cache(lambda: dict(setting()))
        self._scored: dict[str, Forced | ServerError | None] = {}
        self._inside: Endpoint | None = inside
        self._told: dict[str, Answer | ServerError] = {}
        self._digest: str | None = None

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """The answer. Raises ServerError, the same each time, where there was none."""
        key = digest_of({"messages": _plain(messages), "options": asdict(options)})
        if key not in self._told:
            try:
                self._told[key] = self._open().chat(messages, options)
            except ServerError as error:
                self._told[key] = error
        told = self._told[key]
        if isinstance(told, ServerError):
            raise told
        return told

    def score(self, messages: Sequence[Message], answer: str) -> Forced | None:
        """How probable the one inside finds the answer; None where it cannot tell."""
        key = digest_of({"messages": _plain(messages), "answer": answer})
        if key not in self._scored:
            score = getattr(self._open(), "score", None)
            try:
                self._scored[key] = score(messages, answer) if score else None
            except ServerError as error:
                self._scored[key] = error
        told = self._scored[key]
        if isinstance(told, ServerError):
            raise told
        return told

    def render(self, messages: Sequence[Message]) -> str | None:
        """As the one inside; None after `shut`."""
        return self._inside.render(messages) if self._inside else None

    def digest(self) -> str | None:
        """The model's, as it was when it was last asked for."""
        if self._inside is not None:
            self._digest = self._inside.digest()
        return self._digest

    def shut(self) -> None:
        """Let go of the one inside."""
        self._inside = None

    def _open(self) -> Endpoint:
        if self._inside is None:
            raise ServerError(f"{self.label} was not asked that")
        return self._inside


class OneVerdict:
    """A judge that is asked once about every answer, so that an answer is worth the same in each comparison."""

    def __init__(self) -> None:
        self._found: dict[str, Verdict | GgshipError] = {}

    def by(self, judge: Judge) -> Judge:
        """That judge, with this memory."""
        return _Judged(judge, self._found)


class _Judged:
    def __init__(self, inside: Judge, found: dict[str, Verdict | GgshipError]) -> None:
        self._inside = inside
        self._found = found

    def verdict(self, messages: Sequence[Message], answer: str, rubric: str) -> Verdict:
        """The judge's, as it was the first time."""
        key = digest_of({"messages": _plain(messages), "answer": answer, "rubric": rubric})
        if key not in self._found:
            try:
                self._found[key] = self._inside.verdict(messages, answer, rubric)
            except GgshipError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, GgshipError):
            raise found
        return found


def _plain(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(message) for message in messages]
