"""Run as a program: finds JSON in a text and holds it against a JSON Schema, one question a line of stdin.

A question is [text, schema or null, whole]: whole wants the text to be JSON, else JSON anywhere in it will do. The
answer is {"why": ""} where it holds, {"why": the reason} where it does not, {"error": ...} where that cannot be said.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

_OPENS = re.compile(r"[{\[]")


def values(text: str, whole: bool) -> Iterator[Any]:
    """Every JSON value that may be meant: the text itself, or each object or list that stands in it."""
    if whole:
        yield json.loads(text)
        return
    decoder = json.JSONDecoder()
    at = 0
    while opened := _OPENS.search(text, at):
        try:
            value, at = decoder.raw_decode(text, opened.start())
        except ValueError:
            at = opened.end()
            continue
        yield value


def why_not(value: Any, schema: Any) -> str:
    """Where the value breaks the schema, "" where it does not."""
    import jsonschema
    from jsonschema.exceptions import best_match
    from referencing import Registry

    # An empty registry: a $ref to elsewhere is an error, and nothing is fetched.
    validator = jsonschema.Draft202012Validator(schema, registry=Registry())
    error = best_match(validator.iter_errors(value))
    if error is None:
        return ""
    place = "/".join(str(part) for part in error.absolute_path)
    message = error.message if len(error.message) <= 200 else error.message[:199] + "…"
    return f"{place}: {message}" if place else message


def answer(text: str, schema: Any, whole: bool) -> dict[str, str]:
    """What to reply."""
    reason = "no JSON in it"
    try:
        for value in values(text, whole):
            reason = "" if schema is None else why_not(value, schema)
            if not reason:
                break
    except ValueError as error:
        return {"why": f"not JSON: {error}"}
    except RecursionError:
        return {"why": "JSON that is nested too deep"}
    return {"why": reason}


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            reply = answer(*json.loads(line))
        except Exception as error:  # a schema that points nowhere, a pattern that is none
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
