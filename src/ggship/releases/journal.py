"""What was put live under a public name of a server, by whom, proven how: lines that are only ever added.

One file a name and server, JSON lines, in the user's state directory. An act is written down before its first change
and again after its last, so that one which was killed in between is known. A line that was torn is left out.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from ggship import __version__
from ggship.clock import Clock, SystemClock
from ggship.digests import digest_of
from ggship.releases.proofs import Proof
from ggship.runtimes.names import full_name
from ggship.settings import state_dir

Kind = Literal["promote", "rollback", "adopt", "prune"]
KINDS = ("promote", "rollback", "adopt", "prune")


@dataclass(frozen=True, slots=True)
class Act:
    """One act on a release. before: what was live then, "" where nothing was. done: whether its end was written down.

    adopt: a model that was live without any record got a version; prune: the version's name was taken away.
    """

    id: str
    at: str
    who: str
    kind: Kind
    version: int
    digest: str
    before: str = ""
    proof: Proof = field(default_factory=Proof)
    ggship: str = __version__
    done: bool = False


class Journal:
    """The acts on one public name of one server. server: as turns.server_of has it."""

    def __init__(self, server: str, public: str, *, clock: Clock | None = None) -> None:
        self.server = server
        self.public = full_name(public).lower()
        place = digest_of({"server": server, "name": self.public})[:16]
        self.path = _folder() / f"{quote(self.public, safe='')[:100]}-{place}.jsonl"
        self._clock = clock or SystemClock()

    def begin(self, kind: Kind, version: int, digest: str, *, before: str = "", proof: Proof | None = None) -> Act:
        """Write down what is about to be done."""
        at = self._clock.now()
        number = f"{at.strftime('%Y%m%dT%H%M%S.%f')}-{os.getpid()}"
        moment = at.isoformat(timespec="seconds")
        act = Act(number, moment, _who(), kind, version, digest, before, proof or Proof())
        fields = asdict(act)
        fields.pop("done")
        self._write({"format": 1, "server": self.server, "name": self.public, **fields})
        return act

    def end(self, act: Act) -> None:
        """Write down that it was done, and found so."""
        self._write({"id": act.id, "done": True})

    def acts(self) -> tuple[Act, ...]:
        """Every act, oldest first."""
        found: dict[str, Act] = {}
        for line in self._lines():
            number = str(line.get("id"))
            if line.get("done") is True and number in found:
                found[number] = replace(found[number], done=True)
            elif (act := _act(line)) is not None:
                found[act.id] = act
        return tuple(found.values())

    def torn(self) -> int:
        """How many lines cannot be read."""
        return sum(1 for line in _raw(self.path) if _decoded(line) is None)

    def _lines(self) -> Iterator[dict[str, Any]]:
        return (line for text in _raw(self.path) if (line := _decoded(text)) is not None)

    def _write(self, line: Mapping[str, Any]) -> None:
        """One write of one line, on the disk before anything is done. A line that was torn is ended first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    data = b"\n" + data
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())


def journals_of(public: str) -> tuple[Journal, ...]:
    """The journals of that name, of every server that this user released it on."""
    name = full_name(public).lower()
    servers = {
        str(line.get("server"))
        for path in sorted(_folder().glob(f"{quote(name, safe='')[:100]}-*.jsonl"))
        for text in _raw(path)
        if (line := _decoded(text)) is not None and line.get("name") == name and line.get("server")
    }
    return tuple(Journal(server, name) for server in sorted(servers))


def _folder() -> Path:
    return state_dir() / "releases"


def _raw(path: Path) -> list[bytes]:
    try:
        return [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return []


def _decoded(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _act(line: Mapping[str, Any]) -> Act | None:
    """The act of a line; None where it is none that this ggship understands."""
    try:
        kind, version, proof = line["kind"], line["version"], line.get("proof") or {}
        if kind not in KINDS or type(version) is not int or version < 1:
            return None
        return Act(
            id=str(line["id"]),
            at=str(line["at"]),
            who=str(line["who"]),
            kind=kind,
            version=version,
            digest=str(line["digest"]),
            before=str(line.get("before") or ""),
            proof=Proof(
                passed=proof.get("passed"),
                score=str(proof.get("score") or ""),
                gates=tuple(map(str, proof.get("gates") or ())),
                suite=str(proof.get("suite") or ""),
                package=str(proof.get("package") or ""),
            ),
            ggship=str(line.get("ggship") or ""),
        )
    except (KeyError, TypeError, AttributeError):
        return None


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        user = str(os.getuid()) if hasattr(os, "getuid") else "?"
    return f"{user}@{platform.node() or '?'}"
