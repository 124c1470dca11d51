"""Read the small files of a run: bounded, never through a link that leaves the run, damage named."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ggship.errors import BadFile, NotARun, Refused

MIB = 1 << 20
# Each takes over 50 bytes of memory for the two that it has in the file.
MOST_CONTAINERS = 2_000_000
_AGAIN = "the file is damaged: copy it again from where training ran"


def list_directory(directory: Path) -> dict[str, os.DirEntry[str]]:
    """The entries of a directory by name, sorted. Raises NotARun where it cannot be listed."""
    try:
        with os.scandir(directory) as entries:
            return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}
    except OSError as error:
        raise NotARun(
            "the directory cannot be read", where=f"{directory}: {error.strerror}", hint=f"ls -ld {directory}"
        ) from error


def is_regular(file: Path) -> bool:
    """Whether there is a plain file (or a link to one) that could be opened without waiting."""
    return file.is_file()


def stays_inside(file: Path, run: Path) -> bool:
    """Whether the file, with every link followed, lies in the run.

    The Hugging Face cache is the one layout where leaving is the rule: `snapshots/REV/file` links to `blobs/` of the
    same repository (huggingface_hub: "Understand caching").
    """
    real, top = file.resolve(), run.resolve()
    if real.is_relative_to(top):
        return True
    for directory in (top, *top.parents):
        if directory.name == "snapshots":
            return real.is_relative_to(directory.parent / "blobs")
    return False


def refuse_leaving(file: Path, run: Path) -> None:
    """Raise Refused where the file is a link out of the run: what it points to may be anything."""
    if not stays_inside(file, run):
        raise Refused(
            f"{file.name} is a link to something outside the run",
            where=f"{file} -> {file.resolve()}",
            hint=f"copy the run with its links resolved: cp -rL {run} NEW_DIRECTORY",
            rule="GS002",
        )


def read_bounded(file: Path, run: Path, limit: int) -> bytes:
    """The whole file, at most `limit` bytes. Raises Refused for a link out of the run, BadFile where it is larger."""
    refuse_leaving(file, run)
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise BadFile(
            f"{file.name} cannot be read", where=f"{file}: {error.strerror}", hint=f"ls -l {file}", rule="GS006"
        ) from error
    if len(data) > limit:
        raise BadFile(
            f"{file.name} is larger than such a file ever is ({limit // MIB} MiB)",
            where=str(file),
            hint="is it the right file? Copy it again from where training ran.",
            rule="GS006",
        )
    return data


def read_head(file: Path, run: Path, limit: int) -> str:
    """The first `limit` bytes as text; "" where there is no such file, or it is a link out of the run."""
    if not is_regular(file) or not stays_inside(file, run):
        return ""
    try:
        with file.open("rb") as stream:
            return stream.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def read_text(file: Path, run: Path, limit: int) -> str:
    """The whole file as text. Raises BadFile where it is no UTF-8."""
    try:
        return read_bounded(file, run, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(
            f"{file.name} is not text",
            where=f"{file}: byte {error.start} is not UTF-8",
            hint=_AGAIN,
            rule="GS006",
        ) from error


def read_object(file: Path, run: Path, limit: int) -> dict[str, Any]:
    """The JSON object in the file. Raises BadFile, with line and column, where it holds none."""
    text = read_text(file, run, limit)
    if text.count("{") + text.count("[") > MOST_CONTAINERS:
        raise BadFile(
            f"{file.name} holds more lists and objects than such a file ever does",
            where=f"{file}: over {MOST_CONTAINERS:,}",
            hint=_AGAIN,
            rule="GS006",
        )
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadFile(
            f"{file.name} is not valid JSON",
            where=f"{file}, line {error.lineno}, column {error.colno}: {error.msg}",
            hint="the file is damaged or was cut short: copy it again from where training ran",
            rule="GS006",
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{file.name} is not valid JSON", where=f"{file}: {error}", hint=_AGAIN, rule="GS006") from error
    if not isinstance(value, dict):
        raise BadFile(f"{file.name} holds no JSON object", where=f"{file}: {kind_of(value)}", hint=_AGAIN, rule="GS006")
    return value


def kind_of(value: object) -> str:
    """What a JSON value is, in the words of a person."""
    names: Mapping[type, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)
