"""JSON in an answer, held against a JSON Schema, with a limit on time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ggship.errors import ToolFailed, UsageError
from ggship.evals.bounded import LIMIT_SECONDS, Bounded, Ended, TookTooLong

_WORKER = Path(__file__).with_name("json_worker.py")


def check_schema(text: str) -> None:
    """Raise UsageError where the JSON text is no JSON Schema (2020-12)."""
    import jsonschema

    schema = json.loads(text)
    if not isinstance(schema, dict | bool):
        raise UsageError("a JSON Schema is a mapping", where=text[:80])
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "/".join(str(part) for part in error.absolute_path)
        raise UsageError(f"not a JSON Schema: {error.message[:200]}", where=place) from error


class Schemas:
    """Finds JSON in texts and holds it against schemas, each within `limit` seconds. Close it when done."""

    def __init__(self, limit: float = LIMIT_SECONDS) -> None:
        self._child = Bounded(_WORKER, flags=("-I",), hello=["{}", {}, True], limit=limit)

    def why_not(self, text: str, schema: Any, *, whole: bool) -> str:
        """Why the text is not what the schema says (None: any JSON), "" where it is. whole: all of it is the JSON.

        ToolFailed where it takes too long, or the schema points to another that is not there: nothing is fetched.
        """
        try:
            reply = self._child.ask([text, schema, whole])
        except TookTooLong:
            raise ToolFailed(f"looking for JSON took longer than {self._child.limit:g} s and was stopped") from None
        except Ended:
            raise ToolFailed("the process that looks for JSON ended") from None
        if "error" in reply:
            raise ToolFailed("the JSON Schema cannot be used", where=reply["error"])
        return str(reply["why"])

    def close(self) -> None:
        """End the child process, if there is one."""
        self._child.close()
