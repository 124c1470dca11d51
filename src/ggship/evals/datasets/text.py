"""Text of unknown encoding and any size: which encoding it is, and its lines, each within a limit."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ggship.errors import BadFile, UsageError

LONGEST_LINE = 16 << 20
"""Characters. What is longer is no row of a data set, and would not fit into memory a few times."""
_ENOUGH = 2_000  # lines with a character outside ASCII: then it is known
_PIECE = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_LONE = re.compile("[\udc80-\udcff]")
ENCODINGS = ("utf-8", "gb18030", "utf-16")


class LongLine(Exception):
    """A line is longer than LONGEST_LINE; reading goes on behind it."""


def sniff_encoding(path: Path) -> str:
    """utf-8, utf-8-sig, utf-16 or gb18030: by its mark, else by what most of its lines can be.

    One broken line does not turn UTF-8 into GB18030, which would read nearly anything, as nonsense.
    """
    with path.open("rb") as file:
        head = file.read(4)
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return encoding
        file.seek(0)
        utf8 = gb18030 = seen = 0
        whole = True
        while seen < _ENOUGH and (piece := file.readline(_PIECE)):
            if whole and not piece.isascii():
                seen += 1
                utf8 += _readable(piece, "utf-8")
                gb18030 += _readable(piece, "gb18030")
            whole = piece.endswith(b"\n")
    return "gb18030" if utf8 * 2 < seen and gb18030 * 2 > seen else "utf-8"


def _readable(piece: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(piece)
    except UnicodeDecodeError:
        return False
    return True


def open_text(path: Path, encoding: str) -> TextIO:
    """The file as text; bytes that are not of that encoding become lone surrogates, which `unreadable` finds."""
    try:
        errors = "strict" if encoding.startswith("utf-16") else "surrogateescape"
        return io.TextIOWrapper(path.open("rb"), encoding=encoding, errors=errors, newline="")
    except LookupError as error:
        raise UsageError(f"unknown encoding {encoding}", hint=f"one of {', '.join(ENCODINGS)}") from error


def unreadable(text: str) -> bool:
    """Whether bytes that were no text stand in it."""
    return not text.isascii() and _LONE.search(text) is not None


class Lines(Iterator[str]):
    """The lines of a text file with their ends, counted. LongLine where one is too long; the next call goes on."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self.number = 0
        """Of the line that was read last."""

    def __next__(self) -> str:
        try:
            line = self._file.readline(LONGEST_LINE)
            if not line:
                raise StopIteration
            self.number += 1
            if len(line) < LONGEST_LINE or line.endswith("\n"):
                return line
            while (rest := self._file.readline(LONGEST_LINE)) and not rest.endswith("\n"):
                pass
        except UnicodeDecodeError as error:
            raise BadFile(
                f"the file is not {error.encoding}", where=f"{self._name}, after line {self.number}"
            ) from error
        raise LongLine
