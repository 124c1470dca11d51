"""Read the logs that trainers write line by line: what is left of training where there is no state of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from ggship.errors import NotARun
from ggship.runs.files import list_directory, read_head, stays_inside

Row = tuple[Any, Mapping[str, Any]]
"""(step, what was logged there)."""

_MOST_ROWS = 200_000
_MOST_LOGS = 20
_LONGEST = 1 << 16
_MOST_KEYS = 100
_TORCHTUNE = re.compile(r"Step (\d{1,12}) \| (.{1,2000})")
_TORCHTUNE_LOG = re.compile(r"log_\d{1,20}\.txt")


def read_logs(root: Path, limit: int) -> Iterator[tuple[str, list[Row]]]:
    """(file below the run, its rows) of each log that is there; the last row may be cut and is left out then."""
    for name, read in (("trainer_log.jsonl", _llama_factory), ("logging.jsonl", _swift)):
        rows = _rows(read_head(root / name, root, limit), read)
        if rows:
            yield name, rows
    folder = root / "logs"
    if not folder.is_dir() or not stays_inside(folder, root):
        return
    try:
        names = list_directory(folder)
    except NotARun:
        return
    # Each start of torchtune begins a new log, with the time in its name: the last is that of this adapter.
    logs = sorted((name for name in names if _TORCHTUNE_LOG.fullmatch(name)), key=lambda name: (len(name), name))
    for name in logs[: -_MOST_LOGS - 1 : -1]:
        rows = _rows(read_head(folder / name, root, limit), _torchtune)
        if rows:
            yield f"logs/{name}", rows


def _rows(text: str, read: Callable[[str], Row | None]) -> list[Row]:
    """The numbers of each row. ms-swift ends its log with a row that holds all others, which none needs."""
    lines = (line for line in islice(StringIO(text), _MOST_ROWS) if len(line) <= _LONGEST)
    rows = (row for line in lines if (row := read(line)) is not None)
    return [(step, dict(islice(_numbers(row), _MOST_KEYS))) for step, row in rows]


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in row.items() if type(value) in (int, float))


def _llama_factory(line: str) -> Row | None:
    """{"current_steps": 2, "loss": 5.7, "lr": 0.001, ...} (llamafactory: train/callbacks.py)."""
    row = _object(line)
    if row is None or "current_steps" not in row:
        return None
    step = row.pop("current_steps")
    return step, {{"lr": "learning_rate"}.get(key, key): value for key, value in row.items()}


def _swift(line: str) -> Row | None:
    """{"loss": 5.7, "global_step/max_steps": "2/20", ...} (swift: trainers, logging callback)."""
    row = _object(line)
    match = re.match(r"(\d{1,12})/", str(row.pop("global_step/max_steps", ""))) if row else None
    return (int(match[1]), row) if row and match else None


def _torchtune(line: str) -> Row | None:
    """Step 2 | loss:1.25 lr:0.0003 (torchtune: training/metric_logging.py, DiskLogger)."""
    match = _TORCHTUNE.match(line)
    if not match:
        return None
    row: dict[str, Any] = {}
    for item in match[2].split():
        key, _, value = item.rpartition(":")
        try:
            row[{"lr": "learning_rate"}.get(key, key)] = float(value)
        except ValueError:
            continue
    return int(match[1]), row


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
