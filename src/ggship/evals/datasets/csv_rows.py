"""Rows of a CSV file, one at a time, whatever its size; what cannot be read is told with its line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ggship.errors import BadFile
from ggship.evals.datasets.model import Broken, Record
from ggship.evals.datasets.text import LONGEST_LINE, Lines, LongLine, open_text, unreadable

_DELIMITERS = ",\t;|"
LONGEST_FIELD = 4 << 20
"""Characters. A quote that is never closed swallows that many at most."""


def csv_records(path: Path, encoding: str) -> Iterator[Record | Broken]:
    """Each row as header name to text. BadFile where there is no header."""
    with open_text(path, encoding) as file:
        delimiter = _delimiter(file.readline(LONGEST_LINE))
        file.seek(0)
        lines = Lines(file, str(path))
        csv.field_size_limit(LONGEST_FIELD)  # of the whole process, and 128 KiB unless told
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        header = _header(rows, path)
        while True:
            before = lines.number
            try:
                row = next(rows)
            except StopIteration:
                return
            except (csv.Error, LongLine) as error:
                yield Broken(before + 1, lines.number, _reason(error))
                continue
            if row:
                yield _record(row, header, before + 1, lines.number)


def _header(rows: Iterator[list[str]], path: Path) -> list[str]:
    try:
        header = [name.strip() for name in next(rows, [])]
    except (csv.Error, LongLine) as error:
        raise BadFile("the header of the CSV file cannot be read", where=f"{path}: {_reason(error)}") from error
    named = [name for name in header if name]
    if not named:
        raise BadFile("the CSV file has no header: its first line names the columns", where=str(path))
    if len(set(named)) < len(named):
        raise BadFile("two columns have the same name", where=f"{path}, line 1: {', '.join(header)}")
    return header


def _record(row: list[str], header: list[str], line: int, last: int) -> Record | Broken:
    if len(row) != len(header):
        return Broken(line, last, f"{len(row)} columns where the header has {len(header)}")
    if any(unreadable(field) for field in row):
        return Broken(line, last, "bytes that are no text in the file's encoding")
    return Record(line, dict(zip(header, row, strict=True)))


def _reason(error: Exception) -> str:
    if isinstance(error, LongLine):
        return f"longer than {LONGEST_LINE >> 20} million characters"
    text = str(error)
    if "field larger" in text:
        return f"a field longer than {LONGEST_FIELD >> 20} million characters: is a quote not closed?"
    if "unexpected end of data" in text:
        return "a quote is not closed before the file ends"
    return "a NUL byte" if "NUL" in text else f"not CSV: {text}"


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)
