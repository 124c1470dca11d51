"""What ggship wrote to a gateway, line by line, written down before it is done: the memory that `rollback` reads.

One file a gateway, JSON lines, mode 600, under the user's state directory. A Channel holds no key, so no line does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ggship.clock import Clock, SystemClock
from ggship.gateways.model import Channel, ChannelId
from ggship.locks import locked
from ggship.settings import state_dir


@dataclass(frozen=True, slots=True)
class Net:
    """What an act did to one channel, first to last. before: None where it was made; after: None where it is gone.

    sure: False where ggship ended between a write and its reading again, so that `after` is what was wanted.
    """

    before: Channel | None
    after: Channel | None
    sure: bool = True


@dataclass(slots=True)
class Act:
    """One command's writes. undoes: the id of the act that it took back, "" where it took none back.

    ended: whether the command came to its end without an error.
    """

    id: str
    time: str
    command: str
    name: str
    undoes: str = ""
    nets: list[Net] = field(default_factory=list)
    ended: bool = False
    _keys: list[ChannelId | str] = field(default_factory=list)

    @property
    def changed(self) -> list[Net]:
        """What is left of its writes: a channel that was made and taken away again is nothing."""
        return [net for net in self.nets if net.before != net.after]

    def add(self, before: Channel | None, after: Channel | None, *, sure: bool) -> None:
        """One more write, put together with those before it on the same channel."""
        key: ChannelId | str = before.id if before else (after.id or after.name) if after else ""
        if key in self._keys:
            place = self._keys.index(key)
            first = self.nets.pop(place).before
            self._keys.pop(place)
            self.nets.append(Net(first, after, sure))
        else:
            self.nets.append(Net(before, after, sure))
        self._keys.append(key)


class Writing:
    """Writes the steps of one act down (see gateway.Recorder)."""

    def __init__(self, path: Path, act: str) -> None:
        self._path = path
        self._act = act

    def will(self, operation: str, before: Channel | None, wanted: Channel | None) -> None:
        """Before a write."""
        self._line({"will": operation, "before": _document(before), "wanted": _document(wanted)})

    def did(self, after: Channel | None) -> None:
        """After it, when it was read again."""
        self._line({"did": _document(after)})

    def _line(self, line: Mapping[str, Any]) -> None:
        write_line(self._path, {"act": self._act, **line})


class Journal:
    """The journal of one gateway, by its address."""

    def __init__(self, url: str, *, folder: Path | None = None, clock: Clock | None = None) -> None:
        parts = urlsplit(url)
        place = quote(f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/"), safe="")
        self.path = (folder or state_dir() / "gateways") / "journal" / f"{place}.jsonl"
        self._clock = clock or SystemClock()

    @contextmanager
    def act(self, command: str, name: str, *, undoes: str = "") -> Iterator[Writing]:
        """One command's writes to one package's channels; a second ggship waits until it has ended."""
        with locked(self.path.with_suffix(".lock.d"), f"the gateway at {self.path.stem}"):
            number = f"{self._clock.now().strftime('%Y%m%dT%H%M%S.%f')}-{os.getpid()}"
            head = {"act": number, "time": self._clock.now().isoformat(timespec="seconds"), "command": command}
            writing = _Late(self.path, number, {**head, "name": name, **({"undoes": undoes} if undoes else {})})
            yield writing
            writing.end()

    def acts(self, name: str) -> list[Act]:
        """What was written for the package, oldest first. A line that a crash cut short is left out."""
        found: dict[str, Act] = {}
        pending: dict[str, tuple[Channel | None, Channel | None]] = {}
        for line in self._lines():
            number = str(line.get("act"))
            if "command" in line:
                found[number] = Act(number, line["time"], line["command"], line["name"], line.get("undoes", ""))
            elif number not in found:
                continue
            elif "ended" in line:
                found[number].ended = True
            elif "will" in line:
                self._settle(found[number], pending)
                pending[number] = (_channel(line.get("before")), _channel(line.get("wanted")))
            elif "did" in line and number in pending:
                before, _ = pending.pop(number)
                found[number].add(before, _channel(line["did"]), sure=True)
        for number, act in found.items():
            if number in pending:
                self._settle(act, pending)
        return [act for act in found.values() if act.name == name]

    def _settle(self, act: Act, pending: dict[str, tuple[Channel | None, Channel | None]]) -> None:
        """A write that was begun, and of whose end nothing is known."""
        if act.id in pending:
            before, wanted = pending.pop(act.id)
            act.add(before, wanted, sure=False)

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return
        for line in text.split("\n"):
            try:
                found = json.loads(line) if line else None
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found


class _Late(Writing):
    """Writes the head of the act only with its first write: what changed nothing is no act."""

    def __init__(self, path: Path, act: str, head: Mapping[str, Any]) -> None:
        super().__init__(path, act)
        self._head: Mapping[str, Any] | None = head

    def will(self, operation: str, before: Channel | None, wanted: Channel | None) -> None:
        if self._head is not None:
            write_line(self._path, self._head)
            self._head = None
        super().will(operation, before, wanted)

    def end(self) -> None:
        """The command came to its end."""
        if self._head is None:
            self._line({"ended": True})


def write_line(path: Path, line: Mapping[str, Any]) -> None:
    """Append one line and see it on the disk before going on. Nobody else may read the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _document(channel: Channel | None) -> dict[str, Any] | None:
    return channel.document() if channel else None


def _channel(document: Any) -> Channel | None:
    return Channel.from_document(document) if isinstance(document, dict) else None
