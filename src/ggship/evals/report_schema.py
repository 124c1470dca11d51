"""The JSON Schema of report.json, made from the report's own types, so that it cannot say anything else."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from ggship.evals.codec import VERSION
from ggship.evals.report import Report

_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number"}


def report_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of report.json."""
    return schema_of(Report, VERSION, "ggship evaluation report")


def schema_of(kind: Any, version: int, title: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a document: that dataclass, with its version and its verdict in one word."""
    defs: dict[str, Any] = {}
    root = _object(kind, defs)
    root["properties"] = {
        "version": {"const": version, "description": "The version of this format."},
        "passed": {"type": "boolean", "description": "The verdict in one word; equal to verdict.passed."},
        **root["properties"],
    }
    root["required"] = ["version", "passed", *root["required"]]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return {**head, **root, "$defs": dict(sorted(defs.items()))}


def _object(kind: Any, defs: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _of(hint, defs) for name, hint in get_type_hints(kind).items()}
    return {
        "type": "object",
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "additionalProperties": False,
        "required": [name for name in properties if name not in getattr(kind, "__optional_keys__", ())],
        "properties": properties,
    }


def _of(kind: Any, defs: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind) or is_typeddict(kind):
        name = getattr(kind, "__name__", "")
        if name not in defs:
            defs[name] = {}
            defs[name] = _object(kind, defs)
        return {"$ref": f"#/$defs/{name}"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(arguments[0], defs), {"type": "null"}]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        made: dict[str, Any] = {"type": "array", "items": _of(arguments[0], defs)}
        if arguments[-1] is not Ellipsis:
            made.update(minItems=len(arguments), maxItems=len(arguments))
        return made
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], defs)}
    return {"type": _PLAIN[kind]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report_schema(), indent=2) + "\n")
