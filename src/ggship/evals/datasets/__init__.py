"""Data sets as trainers keep them, read row by row: their format and encoding, what each row asks and answers.

dataset = open_dataset(Path("law.csv"))
for item in dataset:          # Example or Broken, again and again: nothing is kept in memory
    ...
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ggship.errors import BadFile, UsageError
from ggship.evals.datasets.alpaca import ALPACA
from ggship.evals.datasets.chatglm import CHATGLM
from ggship.evals.datasets.columns import guess, named, parse_columns
from ggship.evals.datasets.csv_rows import csv_records
from ggship.evals.datasets.dataset_info import NAME as DATASET_INFO
from ggship.evals.datasets.dataset_info import read_entry
from ggship.evals.datasets.json_rows import json_records
from ggship.evals.datasets.lawzhidao import LAWZHIDAO
from ggship.evals.datasets.model import Broken, Example, Format, Item, Record, Values
from ggship.evals.datasets.openai import OPENAI
from ggship.evals.datasets.sharegpt import SHAREGPT
from ggship.evals.datasets.text import sniff_encoding

__all__ = ["FORMATS", "Broken", "Dataset", "Example", "Format", "Item", "open_dataset"]

FORMATS = {found.name: found for found in (LAWZHIDAO, CHATGLM, OPENAI, ALPACA, SHAREGPT)}
"""By name; the first whose `fits` holds is taken. `columns` comes after all of them."""
COLUMNS = "columns"
_LOOKED_AT = 20  # rows, until one can be read
_TABLES = (".csv", ".tsv")
_OBJECTS = (".json", ".jsonl", ".ndjson")
_NOT_TEXT = {
    ".parquet": "datasets.load_dataset('parquet', data_files=...)['train'].to_json('rows.jsonl') writes JSON lines",
    ".arrow": "datasets.load_from_disk(...).to_json('rows.jsonl') writes JSON lines",
    ".gz": "gunzip it first",
    ".zip": "unzip it first",
    ".xlsx": "save it as CSV first",
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set that is read anew each time it is gone through, one row in memory. encoding: as Python names it."""

    files: tuple[Path, ...]
    format: Format
    encoding: str

    def __iter__(self) -> Iterator[Item]:
        for path in self.files:
            yield from self.format.read(_records(path, self.encoding))


def open_dataset(
    path: Path,
    *,
    format: str | None = None,  # noqa: A002  (the name of the option)
    columns: str | None = None,
    encoding: str | None = None,
    name: str | None = None,
) -> Dataset:
    """The data set in that file, its format and encoding found unless given.

    columns: `prompt=ask,response=say`, for plain rows. name: of the entry, where the file is a dataset_info.json.
    Raises UsageError where the format is unknown or the file is of another, BadFile where there is nothing to read.
    """
    _check_file(path, encoding)
    if path.name == DATASET_INFO or name is not None:
        files, shape = read_entry(path, name)
        return Dataset(files, shape, encoding or sniff_encoding(files[0]))
    chosen = encoding or sniff_encoding(path)
    first = _first(path, chosen)
    return Dataset((path,), _format(path, first, format, columns), chosen)


def _check_file(path: Path, encoding: str | None) -> None:
    if not path.is_file():
        problem = "a folder, where one file of data belongs" if path.is_dir() else "there is no such file"
        raise UsageError(problem, where=str(path))
    if hint := _NOT_TEXT.get(path.suffix.lower()):
        raise UsageError("ggship reads text: CSV, JSON, JSON lines", where=str(path), hint=hint)
    with path.open("rb") as file:
        head = file.read(4096)
    if encoding is None and b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError("this is no text", where=str(path), hint="text in UTF-16 without a mark? --encoding utf-16-le")


def _records(path: Path, encoding: str) -> Iterator[Record | Broken]:
    return csv_records(path, encoding) if _is_table(path, encoding) else json_records(path, encoding)


def _is_table(path: Path, encoding: str) -> bool:
    if path.suffix.lower() in (*_TABLES, *_OBJECTS):
        return path.suffix.lower() in _TABLES
    with path.open("rb") as file:
        head = file.read(4096).decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    return not head.startswith(("[", "{"))


def _first(path: Path, encoding: str) -> Values:
    """The values of the first row that can be read."""
    seen: list[Broken] = []
    for record in _records(path, encoding):
        if isinstance(record, Record):
            return record.values
        seen.append(record)
        if len(seen) >= _LOOKED_AT:
            break
    if not seen:
        raise BadFile("the file has no rows", where=str(path))
    raise BadFile("no row of the file can be read", where=f"{path}, {seen[0]}")


def _format(path: Path, first: Values, wanted: str | None, columns: str | None) -> Format:
    there = f"{path}: it has {', '.join(map(str, first))}"
    if columns is not None:
        if wanted not in (None, COLUMNS):
            raise UsageError(f"--columns names the columns of plain rows; the format {wanted} has its own")
        shape = named(parse_columns(columns))
        if not shape.fits(first):
            raise UsageError("a column that --columns names is not there", where=there)
        return shape
    if wanted in FORMATS:
        if not FORMATS[wanted].fits(first):
            raise UsageError(f"this is no {wanted}: {FORMATS[wanted].about}", where=there)
        return FORMATS[wanted]
    if wanted in (None, COLUMNS):
        fitting = None if wanted else next((shape for shape in FORMATS.values() if shape.fits(first)), None)
        if fitting is not None:
            return fitting
        if guessed := guess(first):
            return named(guessed)
        raise UsageError(
            "the format of the data is not known", where=there, hint="--columns prompt=COLUMN,response=COLUMN"
        )
    from ggship.evals.document import did_you_mean

    raise UsageError(f"unknown format `{wanted}`", hint=did_you_mean(wanted, (*FORMATS, COLUMNS)))
