"""The JSON Schema of suites, for completion in editors: made from what the loader knows, so that they agree."""

from __future__ import annotations

import json
import sys
from typing import Any

from ggship.evals import assertions, gates, load, load_assert, load_turns, metrics, smoke
from ggship.evals.suite import SET

TITLE = "ggship suite"
_ABOUT = {
    "version": "The version of this format.",
    "name": "Shown in reports; otherwise the file's name.",
    "description": "For readers; ggship leaves it alone.",
    "defaults": "What every test has unless it says otherwise.",
    "tests": "The conversations that the model is asked.",
    "gates": "Rules over the whole evaluation; without them `pass_rate >= 1`.",
    "smoke": "By smoke check, the share of answers that may break it. 0 unless given.",
    "prompt": "What the user says. {{name}} is filled in from `vars`.",
    "messages": "A conversation of several turns; it ends with what the user says.",
    "system": "A system message put before the conversation.",
    "vars": "Values for {{name}} in prompts and in the values of assertions.",
    "assert": "What the answer must hold.",
    "tags": "Words to group tests by; --tag asks those alone.",
    "repeat": "How often each test is asked, every time with the next seed.",
    "passes": "How many of the repeats must pass; all unless given.",
    "tools": "What the model may call, in OpenAI's shape.",
    "tool_calls": "What the assistant called.",
    "tool_call_id": "Which call this is the answer to; the last one unless given.",
    "weight": "Share in the pass rate; 0 asks and shows without counting.",
    "options": "How the model is asked.",
    "id": "A name for the test, shown in reports; otherwise case-1, case-2, ...",
    "temperature": "0 gives the same words each time.",
    "seed": "Of the sampling.",
    "num_predict": "Most tokens of an answer.",
    "num_ctx": "Tokens of context to make room for.",
    "stop": "Texts that end an answer.",
    "type": "What is held against the answer; `not-` in front turns it round.",
    "threshold": "Where the assertion begins to hold; of a test, the mean score from which it passes.",
    "metric": "The name that its score is averaged under: `metric.NAME` in gates.",
    "unit": "What counts as one token.",
}
_TEXT: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1}


def suite_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a suite."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        **_mapping(load.SUITE_KEYS, ("version", "tests"), _suite_parts()),
        "$defs": {
            "assertion": _assertion(),
            "options": _mapping(load.OPTION_KEYS, (), _option_parts()),
            "vars": {"type": "object", "additionalProperties": _TEXT, "description": _ABOUT["vars"]},
            "test": {
                **_mapping(load.TEST_KEYS, (), _test_parts()),
                "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
            },
        },
    }


def _mapping(keys: tuple[str, ...], required: tuple[str, ...], parts: dict[str, Any]) -> dict[str, Any]:
    properties = {key: {**parts[key], "description": _ABOUT[key]} if key in _ABOUT else parts[key] for key in keys}
    made = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**made, "required": list(required)} if required else made


def _suite_parts() -> dict[str, Any]:
    rule = {"type": "string", "examples": ["pass_rate >= 0.9", "regressions <= 0"], "description": _gates_said()}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "version": {"const": 1},
        "name": _TEXT,
        "description": {},
        "defaults": _mapping(load.DEFAULT_KEYS, (), _test_parts()),
        "tests": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/test"}},
        "gates": {"type": "array", "items": rule},
        "smoke": {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(smoke.CHECKS, share),
        },
    }


def _test_parts() -> dict[str, Any]:
    repeat = {"type": "integer", "minimum": 1, "maximum": load.MOST_REPEATS}
    return {
        "id": _TEXT,
        "description": {},
        "prompt": _TEXT,
        "messages": {"type": "array", "minItems": 1, "items": _turn()},
        "system": _TEXT,
        "vars": {"$ref": "#/$defs/vars"},
        "assert": {"type": "array", "items": {"$ref": "#/$defs/assertion"}},
        "threshold": {"type": "number", "minimum": 0, "maximum": 1},
        "tags": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
        "weight": {"type": "number", "minimum": 0},
        "options": {"$ref": "#/$defs/options"},
        "repeat": repeat,
        "passes": repeat,
        "tools": {"type": "array", "items": _tool()},
    }


def _turn() -> dict[str, Any]:
    function = _mapping(("name", "arguments"), ("name",), {"name": _TEXT, "arguments": {"type": ["object", "string"]}})
    call = _mapping(
        load_turns.CALL_KEYS, ("function",), {"id": _TEXT, "type": {"const": "function"}, "function": function}
    )
    parts = {
        "role": {"enum": list(load_turns.ROLES)},
        "content": _TEXT,
        "by": {"const": "model", "description": "The model under test says this turn itself."},
        "tool_calls": {"type": "array", "items": call},
        "tool_call_id": _TEXT,
    }
    either = [{"required": ["content"]}, {"required": ["tool_calls"]}, {"required": ["by"]}]
    return {**_mapping(load_turns.TURN_KEYS, ("role",), parts), "anyOf": either}


def _tool() -> dict[str, Any]:
    parts = {"name": _TEXT, "description": _TEXT, "parameters": {"type": "object"}, "strict": {"type": "boolean"}}
    bare = _mapping(load_turns.FUNCTION_KEYS, ("name",), parts)
    wrapped = _mapping(("type", "function"), ("function",), {"type": {"const": "function"}, "function": bare})
    return {"anyOf": [wrapped, bare]}


def _option_parts() -> dict[str, Any]:
    return {
        "temperature": {"type": "number", "minimum": 0, "maximum": 10},
        "seed": {"type": "integer", "minimum": 0},
        "num_predict": {"type": "integer", "minimum": 1},
        "num_ctx": {"type": "integer", "minimum": 1},
        "stop": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
    }


def _assertion() -> dict[str, Any]:
    kinds = [kind for kind in assertions.REGISTRY.values() if kind.check.__module__.startswith("ggship.")]
    said = [{"const": kind.name, "description": kind.about} for kind in kinds]
    said += [{"const": assertions.NEGATION + kind.name, "description": f"not: {kind.about}"} for kind in kinds]
    said.append({"const": SET, "description": "the assertions under its `assert`: all, or a score from `threshold` on"})
    parts = {
        "assert": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/assertion"}},
        "type": {"oneOf": said},
        "value": {},
        "threshold": {"type": "number", "minimum": 0},
        "weight": {"type": "number", "minimum": 0, "description": "Share in the case's score; 0 records only."},
        "metric": _TEXT,
        "unit": {"enum": list(metrics.UNITS)},
    }
    return {**_mapping(load_assert.ASSERT_KEYS, ("type",), parts), "allOf": [*map(_of_kind, kinds), _of_set()]}


def _of_set() -> dict[str, Any]:
    """What only a set has, and what it has not."""
    alone = {"not": {"properties": {"type": {"const": SET}}}}
    of_set = {"value": False, "unit": False, "threshold": {"maximum": 1}, "assert": {"items": alone}}
    return {
        "if": {"properties": {"type": {"const": SET}}},
        "then": {"properties": of_set, "required": ["assert"]},
        "else": {"properties": {"assert": False}},
    }


def _of_kind(kind: assertions.Kind) -> dict[str, Any]:
    """What the other keys of an assertion may be, given its type."""
    then: dict[str, Any] = {}
    shapes: dict[str, Any] = {"none": False, "texts": _TEXTS, "text": _TEXT}
    then["value"] = shapes.get(kind.value, True)
    if kind.threshold_is == "none":
        then["threshold"] = False
    else:
        then["threshold"] = {} if kind.threshold is None else {"default": kind.threshold}
        if kind.threshold_is == "score":
            then["threshold"]["maximum"] = 1
    if not kind.counts_tokens:
        then["unit"] = False
    clause: dict[str, Any] = {"properties": then}
    required = ["value"] if kind.value not in ("none", "json?") else []
    required += ["threshold"] if kind.threshold is None and kind.threshold_is != "none" else []
    if required:
        clause["required"] = required
    names = {"enum": [kind.name, assertions.NEGATION + kind.name]}
    return {"if": {"properties": {"type": names}}, "then": clause}


def _gates_said() -> str:
    ends = ", ".join(f"{name}.low" for name in sorted(gates.WITH_INTERVAL))
    return f"NAME >= NUMBER. Names: metric.NAME, tag.NAME.pass_rate, {', '.join(gates.KNOWN)}; of an interval {ends}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(suite_schema(), indent=2) + "\n")
