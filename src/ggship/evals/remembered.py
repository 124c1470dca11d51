"""The answers of one model, kept, so that several models can be compared with it and it is asked once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ggship.digests import write_text
from ggship.errors import ServerError
from ggship.evals.kept import question_of, read_answer
from ggship.evals.suite import Suite
from ggship.runtimes.model import Answer, ChatOptions, Endpoint, Message


class Listening:
    """An endpoint that keeps what the one inside answers."""

    def __init__(self, inside: Endpoint) -> None:
        self._inside = inside
        self.label = inside.label
        self.model = inside.model
        self.at_once: int = getattr(inside, "at_once", 1)
        self.most_at_once: int | None = getattr(inside, "most_at_once", None)
        self.answers: dict[str, Answer] = {}

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """Ask, and keep the answer."""
        answer = self._inside.chat(messages, options)
        self.answers[question_of(messages, options)] = answer
        return answer

    def render(self, messages: Sequence[Message]) -> str | None:
        """As the one inside."""
        return self._inside.render(messages)

    def digest(self) -> str | None:
        """As the one inside."""
        return self._inside.digest()

    def setting(self) -> dict[str, Any]:
        """As the one inside; nothing where that does not tell."""
        return dict(getattr(self._inside, "setting", dict)())


class Remembered:
    """An endpoint that answers as it did before, and nothing else. Times are those of then."""

    def __init__(self, label: str, model: str, digest: str | None, answers: Mapping[str, Answer]) -> None:
        self.label = label
        self.model = model
        self._digest = digest
        self._answers = answers

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """The answer of then. Raises ServerError where that was never asked."""
        try:
            return self._answers[question_of(messages, options)]
        except KeyError:
            raise ServerError(f"{self.label} was not asked that", where=str(messages[-1]["content"])[:80]) from None

    def render(self, _: Sequence[Message]) -> str | None:
        """Not known."""
        return None

    def digest(self) -> str | None:
        """The model's, as it was."""
        return self._digest


class Answers:
    """A file of one model's answers to a suite. key: of all that they depend on; other ones count as none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, key: str, suite: Suite) -> Remembered | None:
        """The endpoint that gives them again; None unless every case of the suite was answered."""
        try:
            kept = json.loads(self._path.read_text("utf-8"))
            if kept["key"] != key:
                return None
            answers = {question: read_answer(fields) for question, fields in kept["answers"].items()}
            found = Remembered(kept["label"], kept["model"], kept["digest"], answers)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return found if _whole(suite, answers) else None

    def write(self, key: str, suite: Suite, heard: Listening) -> None:
        """Keep what was heard, where it is whole: a server can have a bad moment, and the next time is another."""
        if not _whole(suite, heard.answers):
            return
        kept: dict[str, Any] = {
            "key": key,
            "label": heard.label,
            "model": heard.model,
            "digest": heard.digest(),
            "answers": {question: asdict(answer) for question, answer in heard.answers.items()},
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, json.dumps(kept))


def _whole(suite: Suite, answers: Mapping[str, Answer]) -> bool:
    return all(
        question_of(case.messages, options) in answers for case in suite.cases for options in case.options_of_repeats()
    )
