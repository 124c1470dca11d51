"""Objects of a JSON or JSON-lines file, one at a time, whatever its size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ggship.errors import BadFile
from ggship.evals.datasets.model import Broken, Record
from ggship.evals.datasets.text import LONGEST_LINE, Lines, LongLine, open_text, unreadable

_BLOCK = 1 << 16
_CUT = 16  # characters before the end of what was read: an error there may only mean that the rest is missing
_SPACE = " \t\r\n"


def json_records(path: Path, encoding: str) -> Iterator[Record | Broken]:
    """Each object of an array, or of each line. BadFile where an array breaks off: what follows is in no order."""
    with open_text(path, encoding) as file:
        is_array = _first(file) == "["
        file.seek(0)
        yield from _array(file, path) if is_array else _lines(file, path)


def _first(file: TextIO) -> str:
    while character := file.read(1):
        if character not in _SPACE and character != "\ufeff":
            return character
    return ""


def _lines(file: TextIO, path: Path) -> Iterator[Record | Broken]:
    lines = Lines(file, str(path))
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except LongLine:
            yield Broken(lines.number, lines.number, f"longer than {LONGEST_LINE >> 20} million characters")
            continue
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Broken(lines.number, lines.number, _reason(error))
        else:
            yield _record(value, line, lines.number, lines.number)


def _array(file: TextIO, path: Path) -> Iterator[Record | Broken]:
    """The elements of the array, with as much of the file in memory as the longest of them takes."""
    decoder = json.JSONDecoder()
    buffer, at, line = file.read(_BLOCK), 0, 1

    def more() -> bool:
        nonlocal buffer, at
        block = file.read(max(_BLOCK, len(buffer) - at))
        buffer, at = buffer[at:] + block, 0
        return bool(block)

    def skip(marks: str) -> str:
        """The next character that is no space; one of `marks` is stepped over. "" at the end of the file."""
        nonlocal at, line
        while True:
            while at < len(buffer) and buffer[at] in _SPACE:
                line += buffer[at] == "\n"
                at += 1
            if at < len(buffer):
                found = buffer[at]
                at += found in marks
                return found
            if not more():
                return ""

    def broken(reason: str, where: int) -> BadFile:
        return BadFile(
            f"the JSON array breaks: {reason}",
            where=f"{path}, line {where}",
            hint="mend it there, or save it as JSON lines (one object a line): those are read past a broken row",
        )

    skip("[")
    if skip("") == "]":
        return
    while True:
        if not skip(""):
            raise broken("it ends without a ]", line)
        while True:
            try:
                value, end = decoder.raw_decode(buffer, at)
                break
            except (ValueError, RecursionError) as error:
                rest = getattr(error, "pos", len(buffer))
                cut = "Unterminated string" in str(error) or rest >= len(buffer) - _CUT
                where = line + buffer.count("\n", at, rest)
                if not cut or len(buffer) - at > LONGEST_LINE or not more():
                    raise broken(_reason(error, relative=False), where) from error
        text = buffer[at:end]
        at, begin = end, line
        line += text.count("\n")
        yield _record(value, text, begin, line)
        mark = skip(",]")
        if mark == "]":
            return
        if mark != ",":
            raise broken("a comma or a ] belongs behind the object" if mark else "it ends without a ]", line)


def _record(value: Any, text: str, line: int, last: int) -> Record | Broken:
    if unreadable(text):
        return Broken(line, last, "bytes that are no text in the file's encoding")
    if not isinstance(value, dict):
        return Broken(line, last, "not an object: {...} belongs here")
    return Record(line, value)


def _reason(error: Exception, relative: bool = True) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    column = f" (column {error.colno})" if relative and isinstance(error, json.JSONDecodeError) else ""
    problem = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return f"not JSON: {problem[:1].lower()}{problem[1:]}{column}"
