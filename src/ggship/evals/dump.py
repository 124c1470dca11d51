"""A suite as YAML again, for suites that were made and not read from a file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import yaml

from ggship.evals.assertions import kind_of
from ggship.evals.suite import Assertion, Case, Suite
from ggship.runtimes.model import ChatOptions


def render_suite(suite: Suite) -> str:
    """The suite as YAML. Law: parse_suite(render_suite(suite)).digest == suite.digest."""
    document: dict[str, Any] = {"version": 1, "name": suite.name}
    if suite.smoke:
        document["smoke"] = dict(suite.smoke)
    document["gates"] = list(suite.gates)
    document["tests"] = [_case(case) for case in suite.cases]
    text: str = yaml.dump(document, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False, width=110)
    return text


def _case(case: Case) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": case.id,
        "messages": [{"role": turn["role"], "content": _escaped(turn["content"])} for turn in case.messages],
    }
    if case.assertions:
        made["assert"] = [_assertion(item) for item in case.assertions]
        made["weight"] = case.scored_weight
    if case.tags:
        made["tags"] = list(case.tags)
    plain = asdict(ChatOptions())
    options = {name: value for name, value in asdict(case.options).items() if value != plain[name]}
    if options:
        made["options"] = {name: list(value) if name == "stop" else value for name, value in options.items()}
    return made


def _assertion(item: Assertion) -> dict[str, Any]:
    made: dict[str, Any] = {"type": item.type}
    if item.value is not None:
        made["value"] = _escaped(item.value) if isinstance(item.value, str) else [_escaped(text) for text in item.value]
    kind = kind_of(item.type)
    if item.threshold != kind.threshold:
        made["threshold"] = item.threshold
    if item.weight != 1:
        made["weight"] = item.weight
    if item.metric:
        made["metric"] = item.metric
    if item.unit != "auto":
        made["unit"] = item.unit
    return made


def _escaped(text: str) -> str:
    return text.replace("{{", r"\{{")
