"""Answers on the disk as they come: what was asked before a kill, or of the same model another day, is not asked again.

One file of lines for each model in the user's cache, for that user alone. A line holds the sha256 of a question and the
answer; one that a kill tore is as if it had not been written.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from ggship import __version__
from ggship.digests import digest_of
from ggship.errors import GgshipError
from ggship.runtimes.model import Answer, ChatOptions, Endpoint, Message
from ggship.settings import cache_dir

MOST_BYTES_A_MODEL = 128 << 20
MOST_BYTES = 512 << 20
UNFINISHED_SECONDS = 7 * 86400.0
NAMELESS_SECONDS = 86400.0
"""How long an interrupted evaluation of a server that tells no digest can be gone on with."""

OnFound = Callable[[str, int], None]
"""Called as (side, number of answers that are there already)."""


class Answers(Protocol):
    """What is known of one model's answers, and takes more. Used from several threads."""

    def get(self, question: str) -> Answer | None:
        """The answer to that question."""
        ...

    def put(self, question: str, answer: Answer) -> None:
        """Keep it."""
        ...

    def end(self, *, whole: bool, digest: str | None) -> bool:
        """The evaluation ended; `whole` where nothing is left to be asked again.

        digest: the model's, now. False where it was replaced meanwhile; then nothing of it is kept.
        """
        ...


class Forgetful:
    """Keeps nothing."""

    def get(self, question: str) -> Answer | None:  # noqa: ARG002  (the protocol has it)
        """None."""
        return None

    def put(self, question: str, answer: Answer) -> None:
        """Nothing."""

    def end(self, *, whole: bool, digest: str | None) -> bool:  # noqa: ARG002  (the protocol has them)
        """Nothing was kept."""
        return True


class AnswerFile:
    """The answers in one file. passing: it is removed with the end of an evaluation that is whole. most: its bytes.

    Law: what `put` returned from is there for the next process, whatever becomes of this one. A disk that takes no more
    costs the keeping and never the evaluation: `trouble` then says what is wrong.
    """

    def __init__(
        self, path: Path, head: Mapping[str, Any], *, passing: bool, fresh: bool, most: int = MOST_BYTES_A_MODEL
    ) -> None:
        self.trouble = ""
        self.left_open = False
        self._most = most
        self._path = path
        self._passing = passing
        self._digest = head["of"]["digest"]
        self._lock = threading.Lock()
        self._known: dict[str, Answer] = {}
        self._file: int | None = None
        self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if fresh:
                path.unlink(missing_ok=True)
            self._read()
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            if not self._size:
                self._write(head)
        except OSError as error:
            self.trouble = f"{path}: {error.strerror}"

    def get(self, question: str) -> Answer | None:
        """The answer of then."""
        return self._known.get(question)

    def put(self, question: str, answer: Answer) -> None:
        """Append it."""
        with self._lock:
            try:
                self._write({"q": question, "a": asdict(answer)})
            except OSError as error:
                self.trouble = f"{self._path}: {error.strerror}"
                self._close()

    def end(self, *, whole: bool, digest: str | None) -> bool:
        """Close the file; remove it where it was for this evaluation alone, and that is whole."""
        self.left_open = not whole and not self.trouble
        same = digest is None or self._digest is None or digest == self._digest
        with self._lock:
            self._close()
            if (self._passing and whole) or not same:
                with suppress(OSError):
                    self._path.unlink()
        return same

    def _read(self) -> None:
        content = self._path.read_bytes() if self._path.exists() else b""
        for line in content.splitlines():
            with suppress(ValueError, TypeError, KeyError, AttributeError):  # torn by a kill, or of another version
                kept = json.loads(line)
                self._known[kept["q"]] = read_answer(kept["a"])
        self._size = len(content)
        self._torn = bool(content) and not content.endswith(b"\n")

    def _write(self, value: Mapping[str, Any]) -> None:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        if self._file is None or self._size + len(line) > self._most:
            return
        # One call for the whole line: those of two processes on one file never mix, and a kill tears only the last.
        self._size += os.write(self._file, b"\n" + line if self._torn else line)
        self._torn = False

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Kept:
    """Answers of every model that is asked, in `folder`. fresh: what is there counts for nothing, and is replaced.

    on_found hears how many answers of a model are there already. Times of kept answers are those of when they were
    given.
    """

    def __init__(self, folder: Path | None = None, *, fresh: bool = False, on_found: OnFound | None = None) -> None:
        self._folder = folder or cache_dir() / "answers"
        self._fresh = fresh
        self._on_found = on_found or (lambda _, __: None)
        self._files: list[AnswerFile] = []
        _tidy(self._folder)

    @property
    def trouble(self) -> str:
        """Why answers could not be kept; "" where they could."""
        return next((file.trouble for file in self._files if file.trouble), "")

    @property
    def unfinished(self) -> bool:
        """Whether the same evaluation, run again, will ask only what is missing now."""
        return any(file.left_open for file in self._files)

    def for_good(self, side: str, endpoint: Endpoint, questions: Sequence[str]) -> Answers:
        """Of a model that evaluations come back to, such as a base, by its digest; without one as `until_whole`."""
        identity = identity_of(endpoint)
        if identity is None or identity["digest"] is None:
            return self.until_whole(side, endpoint, questions)
        return self._open(side, "base", identity, questions, passing=False)

    def until_whole(self, side: str, endpoint: Endpoint, questions: Sequence[str]) -> Answers:
        """Of the model under test: kept until every question of an evaluation is answered, then asked anew."""
        identity = identity_of(endpoint)
        if identity is None:
            return Forgetful()
        return self._open(side, "unfinished", identity, questions, passing=True)

    def _open(
        self, side: str, kind: str, identity: Mapping[str, Any], questions: Sequence[str], *, passing: bool
    ) -> AnswerFile:
        path = self._folder / kind / f"{digest_of(identity)}.jsonl"
        if passing and identity["digest"] is None and _age(path) > NAMELESS_SECONDS:
            path.unlink(missing_ok=True)
        file = AnswerFile(path, {"of": identity}, passing=passing, fresh=self._fresh)
        self._files.append(file)
        found = sum(file.get(question) is not None for question in questions)
        if found:
            self._on_found(side, found)
        return file


def question_of(messages: Sequence[Message], options: ChatOptions) -> str:
    """The sha256 of all that a model is told."""
    return digest_of({"messages": [dict(message) for message in messages], "options": asdict(options)})


def read_answer(fields: Mapping[str, Any]) -> Answer:
    """The answer that `asdict` made plain."""
    return Answer(**{**fields, "tool_calls": tuple(fields["tool_calls"])})


def identity_of(endpoint: Endpoint) -> dict[str, Any] | None:
    """What an endpoint's answers depend on beside the question; None where it does not tell, or nothing answers.

    digest: None where the server knows none; then the same name may be another model tomorrow.
    """
    setting: Callable[[], Mapping[str, Any]] | None = getattr(endpoint, "setting", None)
    if setting is None:
        return None
    try:
        return {"digest": endpoint.digest(), "setting": dict(setting()), "ggship": __version__}
    except GgshipError:
        return None  # the first question meets the same, and there it is recorded


def _tidy(folder: Path) -> None:
    """Hold the folder within its bounds: what was unfinished too long goes, then what was written longest ago."""
    with suppress(OSError):
        files = sorted(_files(folder), key=lambda entry: entry[0], reverse=True)
        left = MOST_BYTES
        for age, size, path in reversed(files):
            left -= size
            if left < 0 or (path.parent.name == "unfinished" and age > UNFINISHED_SECONDS):
                path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for path in folder.glob("*/*.jsonl"):
        with suppress(OSError):  # another ggship just removed it
            yield _age(path), path.stat().st_size, path


def _age(path: Path) -> float:
    """Seconds since it was last written; 0 where it is not there."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0
