"""Report to JSON and back. Reading is strict: a missing, unknown or wrongly typed field is a BadFile, never a guess."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from ggship.errors import BadFile
from ggship.evals.gates import verdict
from ggship.evals.report import Report

VERSION = 1
# What early reports had not.
_LATER: Mapping[str, Any] = {"provenance": [], "reference": None, "prompt": None, "humans": None}


def as_document(report: Report) -> dict[str, Any]:
    """The report as plain values, described by templates/schemas/report.schema.json."""
    return {"version": VERSION, "passed": report.passed, **plain(report)}


def to_json(report: Report) -> str:
    """The report as JSON text: the same report, the same bytes."""
    return json.dumps(as_document(report), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def from_json(text: str | bytes, where: str = "report.json") -> Report:
    """The report that `to_json` wrote. BadFile where it is none, or where its verdict is not what its parts say."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile("not JSON", where=f"{where}: {error}") from error
    if not isinstance(document, dict):
        raise BadFile("not a report of ggship", where=where)
    found = document.pop("version", None)
    if found != VERSION:
        raise BadFile(
            f"reports of version {found} are not known", where=where, hint=f"this ggship reads version {VERSION}"
        )
    passed = document.pop("passed", None)
    document = {**_LATER, **document}
    report: Report = _read(Report, document, where)
    said = verdict(report.gates, report.timing.gates, report.smoke, report.errors, report.reference)
    if said != report.verdict or passed is not report.passed:
        raise BadFile("the verdict is not what the gates and checks of this report say", where=where)
    return report


def read_report(path: Path) -> Report:
    """The report in that file."""
    try:
        return from_json(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise BadFile("there is no report", where=str(path)) from error


def plain(value: Any) -> Any:
    """A value of these dataclasses in what JSON knows."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if dataclasses.is_dataclass(value):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def read_value(kind: Any, value: Any, where: str) -> Any:
    """`value`, out of JSON, as a `kind`, checked all the way down. BadFile naming the field, where it is none."""
    return _read(kind, value, where)


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` as a `kind`, checked all the way down; `where` names the field in errors."""
    if dataclasses.is_dataclass(kind) or is_typeddict(kind):
        fields = _hints(kind)
        mapping = _checked(dict, value, where)
        optional: frozenset[str] = getattr(kind, "__optional_keys__", _later(kind))
        for name in {**fields, **mapping}:
            if name not in fields or (name not in mapping and name not in optional):
                raise BadFile(f"the field `{name}` is {'unknown' if name in mapping else 'missing'}", where=where)
        made: Mapping[str, Any] = {
            name: _read(of, mapping[name], f"{where}: {name}") for name, of in fields.items() if name in mapping
        }
        return kind(**made)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # in these values only ever X | None
        return None if value is None else _read(arguments[0], value, where)
    if origin is Literal:
        if value not in arguments:
            raise BadFile(f"{value!r} is none of {', '.join(map(repr, arguments))}", where=where)
        return value
    if origin is tuple:
        items = _checked(list, value, where)
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise BadFile(f"{len(items)} values where {len(arguments)} belong", where=where)
        return tuple(_read(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(items))
    if origin is dict:
        return {key: _read(arguments[1], item, f"{where}: {key}") for key, item in _checked(dict, value, where).items()}
    return _checked(kind, value, where)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)  # evaluates source text each time: most of the reading, where it is not kept


@functools.cache
def _later(kind: Any) -> frozenset[str]:
    """The fields that reports of earlier versions lack."""
    fields = getattr(kind, "__dataclass_fields__", {}).values()
    return frozenset(each.name for each in fields if each.metadata.get("later"))


def _checked(kind: type, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise BadFile(f"{kind.__name__} belongs here, not {type(value).__name__}", where=where)
    return value
