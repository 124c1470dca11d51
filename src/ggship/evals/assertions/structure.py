"""Assertions on answers that programs read: JSON, and calls of tools."""

from __future__ import annotations

import json

from ggship.evals.assertions.registry import Judgement, Subject, assertion, at_least, listed, yes_no
from ggship.evals.schemas import check_schema


def _json(subject: Subject, whole: bool) -> Judgement:
    schema = json.loads(subject.value) if subject.value else None
    why = subject.instruments.schemas.why_not(subject.text, schema, whole=whole)
    return yes_no(not why, "is JSON" if whole else "contains JSON", why)


@assertion("is-json", "json?", "the answer is JSON; with a value, as that JSON Schema says", validate=check_schema)
def _is_json(subject: Subject) -> Judgement:
    return _json(subject, whole=True)


@assertion(
    "contains-json",
    "json?",
    "an object or a list in JSON stands in it; with a value, as that JSON Schema says",
    validate=check_schema,
)
def _contains_json(subject: Subject) -> Judgement:
    return _json(subject, whole=False)


@assertion(
    "tool-call-f1",
    "texts",
    "F1 of the tools called against these names is at least `threshold`",
    threshold=1.0,
    threshold_is="score",
)
def _tool_call_f1(subject: Subject) -> Judgement:
    wanted, called = set(subject.values), {call["function"]["name"] for call in subject.said.calls}
    score = 2 * len(wanted & called) / (len(wanted) + len(called))
    return at_least(subject, score, f"(called {listed(tuple(sorted(called))) or 'nothing'})")


@assertion(
    "is-valid-openai-tools-call",
    "none",
    "it calls a tool, and each call is of a tool that was offered, with its parameters",
)
def _is_valid_tools_call(subject: Subject) -> Judgement:
    if not subject.said.calls:
        return yes_no(False, "", "calls no tool")
    offered = {tool["function"]["name"]: tool["function"] for tool in subject.said.tools}
    for call in subject.said.calls:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        if name not in offered:
            return yes_no(False, "", f"calls {name}, which was not offered")
        schema = offered[name].get("parameters") or {"type": "object"}
        if why := subject.instruments.schemas.why_not(arguments or "{}", schema, whole=True):
            return yes_no(False, "", f"{name}: {why}")
    return yes_no(True, f"calls {listed(tuple(call['function']['name'] for call in subject.said.calls))}", "")
