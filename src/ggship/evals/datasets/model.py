"""What a row of a data set becomes: a conversation and the answer that training gave for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ggship.runtimes.model import Message

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it stands in the file. line: where it begins, from 1."""

    line: int
    values: Values


@dataclass(frozen=True, slots=True)
class Broken:
    """Rows that cannot be used, and why: they are told of, and never dropped silently. last: their last line."""

    line: int
    last: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}{f' to {self.last}' if self.last > self.line else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation that ends where the model answers, and what it should say there.

    messages: at least one, the last of role user or tool. reference: the answer of the data set; "" where that is a
    call of tools alone, and then `calls` names them. tools: in OpenAI's shape.
    """

    line: int
    messages: tuple[Message, ...]
    reference: str
    calls: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def questions(self) -> tuple[str, ...]:
        """What the user says, turn by turn."""
        return tuple(turn["content"] for turn in self.messages if turn["role"] == "user")


class RowError(ValueError):
    """Why a row makes no example; the reader adds the line."""


Item = Example | Broken


@dataclass(frozen=True, slots=True)
class Format:
    """A shape of data sets. fits: whether a first row with these values looks like it; read: rows to examples."""

    name: str
    about: str
    fits: Callable[[Values], bool]
    read: Callable[[Iterable[Record | Broken]], Iterator[Item]]


def row_by_row(make: Callable[[Record], Example]) -> Callable[[Iterable[Record | Broken]], Iterator[Item]]:
    """A reader of formats where one row is one example. `make` raises RowError where it is none."""

    def read(records: Iterable[Record | Broken]) -> Iterator[Item]:
        for record in records:
            if isinstance(record, Broken):
                yield record
                continue
            try:
                yield make(record)
            except RowError as error:
                yield Broken(record.line, record.line, str(error))

    return read


def text_of(values: Values, key: str, *, needed: bool = False) -> str:
    """The text under that key, "" where there is none. RowError where it is no text, or needed and empty."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise RowError(f"`{key}` is {_kind(value)}, not text")
    text = "" if value is None else str(value)
    if needed and not text.strip():
        raise RowError(f"`{key}` is {'missing' if value is None else 'empty'}")
    return text


def list_of(values: Values, key: str) -> list[Any]:
    """The list under that key; empty where there is none."""
    value = values.get(key)
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise RowError(f"`{key}` is {_kind(value)}, not a list")
    return value


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", bool: "true or false", type(None): "nothing"}.get(type(value), "text")
