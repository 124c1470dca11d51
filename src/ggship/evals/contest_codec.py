"""A contest as JSON, with the JSON Schema that describes it."""

from __future__ import annotations

import json
import sys
from typing import Any

from ggship.evals.codec import plain
from ggship.evals.contest import Contest
from ggship.evals.report_schema import schema_of

VERSION = 1


def contest_document(contest: Contest) -> dict[str, Any]:
    """The contest as plain values, described by templates/schemas/compare.schema.json."""
    return {"version": VERSION, "passed": contest.passed, **plain(contest)}


def contest_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of compare.json."""
    return schema_of(Contest, VERSION, "ggship comparison of models")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(contest_schema(), indent=2) + "\n")
