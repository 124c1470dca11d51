"""LLaMA-Factory's `dataset_info.json`: names of data sets, with the file and the columns of each (data/parser.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ggship.errors import BadFile, UsageError
from ggship.evals.datasets.alpaca import Columns, alpaca_example
from ggship.evals.datasets.model import Format, row_by_row
from ggship.evals.datasets.openai import messages_example
from ggship.evals.datasets.sharegpt import Tags, sharegpt_example
from ggship.evals.document import did_you_mean

NAME = "dataset_info.json"
_ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_FILES = (".json", ".jsonl", ".csv", ".txt")


def read_entry(path: Path, name: str | None) -> tuple[tuple[Path, ...], Format]:
    """The files of that data set and how they are read. UsageError where it is not there, or not on this machine."""
    try:
        entries = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, OSError) as error:
        raise BadFile("not a dataset_info.json", where=f"{path}: {error}") from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise BadFile("not a dataset_info.json: an object of objects belongs there", where=str(path))
    chosen = name or (next(iter(entries)) if len(entries) == 1 else "")
    if chosen not in entries:
        problem = f"no data set `{chosen}` is named there" if chosen else "several data sets are named there"
        raise UsageError(problem, where=str(path), hint="--dataset NAME; " + did_you_mean(chosen, entries))
    return _files(path, chosen, entries[chosen]), _format(chosen, entries[chosen], path)


def _files(path: Path, name: str, entry: Mapping[str, Any]) -> tuple[Path, ...]:
    given = entry.get("file_name")
    if not isinstance(given, str):
        where = next((f"{key}: {entry[key]}" for key in _ELSEWHERE if key in entry), "it names no file")
        raise UsageError(
            f"the data set `{name}` is not on this machine", where=where, hint="download it, pass the file"
        )
    place = path.parent / given
    if place.is_dir():
        found = tuple(sorted(file for file in place.iterdir() if file.suffix in _FILES))
        if found:
            return found
    elif place.is_file():
        return (place,)
    raise UsageError(f"the file of the data set `{name}` is not there", where=str(place))


def _format(name: str, entry: Mapping[str, Any], path: Path) -> Format:
    shape = entry.get("formatting", "alpaca")
    columns, tags = entry.get("columns"), entry.get("tags")
    if shape == "alpaca":
        chosen = _alpaca(columns, bool(entry.get("ranking")))
        read = row_by_row(lambda record: alpaca_example(record, chosen))
    elif shape == "sharegpt":
        spoken = _sharegpt(columns, tags)
        read = row_by_row(lambda record: sharegpt_example(record, spoken))
    elif shape == "openai":
        key = str((columns or {}).get("messages", "messages"))
        read = row_by_row(lambda record: messages_example(record, key))
    else:
        raise UsageError(
            f"unknown formatting `{shape}` of the data set `{name}`",
            where=str(path),
            hint=did_you_mean(str(shape), ("alpaca", "sharegpt", "openai")),
        )
    return Format(f"{shape} ({NAME}: {name})", f"as {NAME} says", lambda values: bool(values), read)


def _alpaca(columns: Mapping[str, Any] | None, ranking: bool) -> Columns:
    """Law of LLaMA-Factory: where `columns` is given, a part that it does not name is nowhere, not where it usually is.

    A ranking's answer is the chosen one.
    """
    usual = Columns()
    if columns is not None:
        usual = Columns(**{part.name: str(columns.get(part.name) or "") for part in fields(Columns)})
        if not usual.prompt:
            usual = replace(usual, prompt="instruction")
    chosen = str((columns or {}).get("chosen") or "chosen")
    return replace(usual, response=chosen) if ranking else replace(usual, response=usual.response or "output")


def _sharegpt(columns: Mapping[str, Any] | None, tags: Mapping[str, Any] | None) -> Tags:
    usual = Tags()
    if columns is not None:
        usual = replace(
            usual,
            messages=str(columns.get("messages") or "conversations"),
            system=str(columns.get("system") or ""),
            tools=str(columns.get("tools") or ""),
        )
    if tags is None:
        return usual

    def one(key: str) -> tuple[str, ...]:
        return (str(tags[key]),) if tags.get(key) else ()

    return replace(
        usual,
        role=str(tags.get("role_tag") or "from"),
        content=str(tags.get("content_tag") or "value"),
        user=one("user_tag") or usual.user,
        assistant=one("assistant_tag") or usual.assistant,
        observation=one("observation_tag") or usual.observation,
        function=one("function_tag") or usual.function,
        systems=one("system_tag") or usual.systems,
    )
