"""Metadata values of a GGUF file: kept as the bytes that lie in it, decoded when asked.

Source: the GGUF specification (ggml/docs/gguf.md) and gguf.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from ggship.errors import BadFile


class ValueType(IntEnum):
    """The type of a metadata value."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


FORMATS: dict[ValueType, str] = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "?",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}
SIZES: dict[ValueType, int] = {kind: struct.calcsize("<" + code) for kind, code in FORMATS.items()}


@dataclass(frozen=True, slots=True)
class GgufValue:
    """One metadata value: its type, and its bytes as they lie in a file.

    The bytes of a long array stay in `path`, at `offset`, until someone asks for them; short ones are in `data`.
    item: the type of an array's items. count: how many.
    Law: encode(value.decode(), like=value).raw() == value.raw().
    """

    type: ValueType
    nbytes: int
    item: ValueType | None = None
    count: int = 1
    data: bytes | None = None
    path: Path | None = None
    offset: int = 0

    @classmethod
    def uint32(cls, number: int) -> GgufValue:
        """A UINT32, as llama.cpp wants counts and file types."""
        return cls(ValueType.UINT32, 4, data=struct.pack("<I", number))

    def raw(self) -> bytes:
        """The bytes, as they lie in the file after the type number."""
        if self.data is not None:
            return self.data
        if self.path is None:
            raise ValueError("a value needs its bytes or the file that holds them")
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.nbytes)
        if len(data) != self.nbytes:
            raise BadFile("the GGUF file became shorter while it was read", where=str(self.path))
        return data

    def decode(self) -> Any:
        """The value in Python: int, float, bool, str, or a list of them."""
        raw = self.raw()
        if self.type is ValueType.STRING:
            return raw[8:].decode("utf-8", "replace")
        if self.type is not ValueType.ARRAY:
            return struct.unpack("<" + FORMATS[self.type], raw)[0]
        if self.item is ValueType.STRING:
            return _strings(raw, self.count)
        assert self.item is not None
        return list(struct.unpack_from(f"<{self.count}{FORMATS[self.item]}", raw, 12))

    def item_at(self, index: int) -> Any:
        """One item of an array, without making the others; None where there is none, or this is no array."""
        return self.items_at((index,)).get(index)

    def items_at(self, indices: Iterable[int]) -> dict[int, Any]:
        """Some items of an array by their index, in one walk up to the last of them; those that it has."""
        wanted = sorted({index for index in indices if 0 <= index < self.count}) if self.type is ValueType.ARRAY else ()
        if not wanted:
            return {}
        raw = self.raw()
        if self.item is not ValueType.STRING:
            assert self.item is not None
            size, code = SIZES[self.item], "<" + FORMATS[self.item]
            return {index: struct.unpack_from(code, raw, 12 + index * size)[0] for index in wanted}
        found, at, number, length_at = {}, 12, 0, _LENGTH.unpack_from
        for index in wanted:
            for _ in range(index - number):
                at += 8 + length_at(raw, at)[0]
            found[index], number = _text(raw, at), index
        return found


def encode(value: Any, *, like: GgufValue | None = None) -> GgufValue:
    """Make a metadata value from int, float, bool, str, or a sequence of one of them.

    `like` gives the number types where they fit; otherwise int is UINT32 (INT32 below zero, 64 bits where needed) and
    float is FLOAT32. A GgufValue is returned as it is. Raises TypeError for anything else.
    """
    if isinstance(value, GgufValue):
        return value
    if isinstance(value, (list, tuple)):
        return _array(value, like)
    kind = _kind(value, like.type if like else None)
    raw = _scalar(value, kind)
    return GgufValue(kind, len(raw), data=raw)


def _array(items: Sequence[Any], like: GgufValue | None) -> GgufValue:
    kinds = {_kind(item, like.item if like else None) for item in items} or {(like and like.item) or ValueType.UINT32}
    # A list such as [1, 2**40] is one array of the widest of its numbers.
    kind = max(kinds)
    raw = struct.pack("<IQ", kind, len(items)) + b"".join(_scalar(item, kind) for item in items)
    return GgufValue(ValueType.ARRAY, len(raw), item=kind, count=len(items), data=raw)


def _kind(value: Any, like: ValueType | None) -> ValueType:
    if isinstance(value, bool):
        return ValueType.BOOL
    if isinstance(value, str):
        return ValueType.STRING
    if isinstance(value, int):
        if like in FORMATS and like is not ValueType.BOOL and _fits(value, like):
            return like
        first = ValueType.UINT32 if value >= 0 else ValueType.INT32
        return first if _fits(value, first) else (ValueType.UINT64 if value >= 0 else ValueType.INT64)
    if isinstance(value, float):
        return ValueType.FLOAT64 if like is ValueType.FLOAT64 else ValueType.FLOAT32
    raise TypeError(f"GGUF metadata cannot hold a {type(value).__name__}")


def _fits(value: int, kind: ValueType) -> bool:
    try:
        struct.pack("<" + FORMATS[kind], value)
    except struct.error:
        return False
    return True


def _scalar(value: Any, kind: ValueType) -> bytes:
    if kind is ValueType.STRING:
        text = value.encode("utf-8")
        return struct.pack("<Q", len(text)) + bytes(text)
    return struct.pack("<" + FORMATS[kind], value)


_LENGTH = struct.Struct("<Q")


def _strings(raw: bytes, count: int) -> list[str]:
    texts: list[str] = []
    at = 12
    length_at = _LENGTH.unpack_from
    for _ in range(count):
        end = at + 8 + length_at(raw, at)[0]
        texts.append(raw[at + 8 : end].decode("utf-8", "replace"))
        at = end
    return texts


def _text(raw: bytes, at: int) -> str:
    end = at + 8 + _LENGTH.unpack_from(raw, at)[0]
    return raw[at + 8 : end].decode("utf-8", "replace")
