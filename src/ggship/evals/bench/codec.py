"""bench.json and back, strictly; `python -m ggship.evals.bench.codec` prints its JSON Schema."""

from __future__ import annotations

import json
import sys
from typing import Any

from ggship.errors import BadFile
from ggship.evals.bench.report import BenchReport
from ggship.evals.codec import plain, read_value
from ggship.evals.report_schema import schema_of

VERSION = 1


def as_document(report: BenchReport) -> dict[str, Any]:
    """The report as plain values, described by templates/schemas/bench.schema.json."""
    return {"version": VERSION, "passed": report.passed, **plain(report)}


def to_json(report: BenchReport) -> str:
    """The report as JSON text."""
    return json.dumps(as_document(report), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def from_json(text: str | bytes, where: str = "bench.json") -> BenchReport:
    """The report that `to_json` wrote. BadFile where it is none, or where it says it passed and its gates do not."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile("not JSON", where=f"{where}: {error}") from error
    return from_document(document, where)


def from_document(document: Any, where: str = "bench.json") -> BenchReport:
    """The report of such plain values."""
    if not isinstance(document, dict):
        raise BadFile("not a measurement of ggship", where=where)
    fields = dict(document)
    found = fields.pop("version", None)
    if found != VERSION:
        raise BadFile(
            f"measurements of version {found} are not known", where=where, hint=f"this ggship reads version {VERSION}"
        )
    passed = fields.pop("passed", None)
    report: BenchReport = read_value(BenchReport, fields, where)
    if passed is not report.passed:
        raise BadFile("the verdict is not what the gates of this measurement say", where=where)
    return report


def bench_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of bench.json."""
    return schema_of(BenchReport, VERSION, "ggship load measurement")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(bench_schema(), indent=2) + "\n")
