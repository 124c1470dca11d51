"""Judgements on disk: for each model a folder, in it a journal for each reviewer, to which lines are only added.

They lie outside of packages, which never change once they are made: in the user's state directory, or where
GGSHIP_REVIEWS_DIR says, which several people may share. A judgement is bound to the texts that were read, so that one
journal serves every evaluation of a model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from ggship.errors import UsageError
from ggship.evals.humans import Judgement, Mark, Preference, Side, humans
from ggship.evals.report import CaseReport, Humans
from ggship.settings import state_dir

LONGEST_NAME = 60
_SECRET = "secret"
_ONE_OF: Mapping[str, tuple[Any, ...]] = {
    "prefer": (None, *get_args(Preference)),
    "tuned_mark": (None, *get_args(Mark)),
    "base_mark": (None, *get_args(Mark)),
    "left": get_args(Side),
}
_TEXTS = ("reviewer", "case", "question", "tuned", "tuned_edit", "base_edit", "comment", "at")


def reviews_dir() -> Path:
    """Where reviews are kept: $GGSHIP_REVIEWS_DIR, else in the user's state directory."""
    override = os.environ.get("GGSHIP_REVIEWS_DIR")
    return Path(override).expanduser() if override else state_dir() / "reviews"


def check_reviewer(name: str) -> str:
    """The name as it is kept. UsageError where it is empty, too long, or more than a line."""
    kept = unicodedata.normalize("NFC", " ".join(name.split()))
    if not kept or len(kept) > LONGEST_NAME or not kept.isprintable():
        raise UsageError(
            f"a reviewer has a name of 1 to {LONGEST_NAME} letters on one line",
            where=repr(name[:80]),
            hint="--reviewer anna",
        )
    return kept


@dataclass(frozen=True, slots=True)
class Journal:
    """What one reviewer said, as it holds now.

    said: every judgement that was not taken back, oldest first. locked: how many of them were said before the reviewer
    was shown which answer is whose. latest: the last judgement by Judgement.key; final: the keys of those that are
    locked. damaged: lines that are none, such as one that was half written.
    """

    said: tuple[Judgement, ...] = ()
    locked: int = 0
    latest: Mapping[str, Judgement] = field(default_factory=dict)
    final: frozenset[str] = frozenset()
    damaged: int = 0


class Reviews:
    """All that people said of one model. subject: what reports call it."""

    def __init__(self, subject: str, folder: Path | None = None) -> None:
        name = subject.removesuffix(":latest").casefold()  # Ollama finds law as Law
        self.folder = (folder or reviews_dir()) / _file_name(name)

    def judgements(self) -> tuple[Judgement, ...]:
        """Everything that anybody said and did not take back; of each reviewer oldest first."""
        return tuple(one for journal in self._journals() for one in journal.said)

    def humans(self, cases: Sequence[CaseReport]) -> Humans:
        """The figures over these answers."""
        return humans(cases, self.judgements())

    def damaged(self) -> int:
        """How many lines of the journals are none."""
        return sum(journal.damaged for journal in self._journals())

    def digest(self) -> str:
        """sha256 of all that was said: another one where anything was added or taken back."""
        said = [asdict(one) for one in self.judgements()]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def read(self, reviewer: str) -> Journal:
        """The journal of one reviewer."""
        return _fold(_events(self._file(reviewer)))

    def stamp(self, reviewer: str) -> tuple[int, int]:
        """Changes whenever the journal does."""
        try:
            stat = self._file(reviewer).stat()
        except FileNotFoundError:
            return 0, 0
        return stat.st_size, stat.st_mtime_ns

    def add(self, judgement: Judgement) -> None:
        """Keep it: it is on the disk when this returns."""
        self._append(judgement.reviewer, {"event": "judged", **asdict(judgement)})

    def take_back(self, reviewer: str, at: str) -> None:
        """Take the last judgement back, unless it is final."""
        self._append(reviewer, {"event": "undone", "at": at})

    def reveal(self, reviewer: str, at: str) -> None:
        """Note that the reviewer was shown which answer is whose: all that was said until now is final."""
        self._append(reviewer, {"event": "revealed", "at": at})

    def secret(self) -> bytes:
        """What the order of the answers is drawn from; made when it is first asked for, and never sent to a page."""
        path = self.folder / _SECRET
        with self._locked():
            if not path.is_file() or not path.read_bytes().strip():
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(32))
                    file.flush()
                    os.fsync(file.fileno())
            return bytes.fromhex(path.read_text("ascii").strip())

    def _journals(self) -> Iterator[Journal]:
        for path in sorted(self.folder.glob("*.jsonl")):
            yield _fold(_events(path))

    def _file(self, reviewer: str) -> Path:
        return self.folder / f"{_file_name(reviewer.casefold())}.jsonl"

    def _append(self, reviewer: str, event: Mapping[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=True).encode() + b"\n"
        path = self._file(reviewer)
        with self._locked():
            new = not path.exists()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":  # what a crash left half written stays alone
                    line = b"\n" + line
                _write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if new:
                _sync_folder(self.folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        import filelock

        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with filelock.FileLock(self.folder / "lock"):
            yield


def _file_name(name: str) -> str:
    """A name as one of a file, never longer than file systems take."""
    quoted = quote(name, safe=" ").replace(".", "%2E")
    if len(quoted) <= 120:
        return quoted
    return f"{quoted[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _events(path: Path) -> Iterator[dict[str, Any] | None]:
    """Each line's event; None for a line that is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.split(b"\n"):
        if line.strip():
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            yield event if isinstance(event, dict) else None


def _fold(events: Iterator[dict[str, Any] | None]) -> Journal:
    said: list[Judgement] = []
    locked = damaged = 0
    for event in events:
        kind = event.get("event") if event else None
        if event is not None and kind == "judged" and (one := _judgement(event)):
            said.append(one)
        elif kind == "undone":
            if len(said) > locked:
                said.pop()
        elif kind == "revealed":
            locked = len(said)
        else:
            damaged += 1
    final = frozenset(one.key for one in said[:locked])
    return Journal(tuple(said), locked, {one.key: one for one in said}, final, damaged)


def _judgement(event: Mapping[str, Any]) -> Judgement | None:
    fields = {name: event.get(name) for name in Judgement.__dataclass_fields__}
    base = fields["base"]
    whole = all(isinstance(fields[name], str) for name in _TEXTS) and (base is None or isinstance(base, str))
    if not whole or any(fields[name] not in allowed for name, allowed in _ONE_OF.items()):
        return None
    return Judgement(**fields)  # type: ignore[arg-type]
