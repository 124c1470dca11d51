"""A suite as YAML again, for suites that were made and not read from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from ggship.evals.assertions import kind_of
from ggship.evals.load import OPTION_KEYS
from ggship.evals.suite import Assertion, Case, Suite
from ggship.runtimes.model import ChatOptions, Message


def render_suite(suite: Suite, head: str = "") -> str:
    """The suite as YAML; `head` stands above it as comments. Law: parse_suite(render_suite(s)).digest == s.digest."""
    document: dict[str, Any] = {"version": 1, "name": suite.name}
    if suite.smoke:
        document["smoke"] = dict(suite.smoke)
    document["gates"] = list(suite.gates)
    shared = suite.cases[0].options if len({_key(case.options) for case in suite.cases}) == 1 else ChatOptions()
    if options := _options(shared):
        document["defaults"] = {"options": options}
    document["tests"] = [_case(case, shared) for case in suite.cases]
    text: str = yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=110)
    shown = ("".join(mark if mark.isprintable() else " " for mark in line) for line in head.splitlines())
    return "".join(f"# {line}".rstrip() + "\n" for line in shown) + text


class _Flow(list[str]):
    """A list that stands on one line."""


class _Dumper(yaml.CSafeDumper):
    """Texts of several lines stand line by line, where YAML can hold them so."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    several = (
        "\n" in text
        and text.replace("\n", "").isprintable()
        and not any(line != line.rstrip() for line in text.split("\n"))
    )
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if several else None)


def _flow(dumper: _Dumper, items: _Flow) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", list(items), flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Flow, _flow)


def _case(case: Case, shared: ChatOptions) -> dict[str, Any]:
    made: dict[str, Any] = {"id": case.id, **_conversation(case)}
    if case.assertions:
        made["assert"] = [_assertion(item) for item in case.assertions]
        if case.scored_weight != float(any(item.weight for item in case.assertions)):
            made["weight"] = case.scored_weight
    if case.threshold is not None:
        made["threshold"] = case.threshold
    if case.tags:
        made["tags"] = _Flow(case.tags)
    if case.options.tools:
        made["tools"] = [_thawed(tool) for tool in case.options.tools]
    if case.repeat > 1:
        made["repeat"] = case.repeat
        if case.passes is not None:
            made["passes"] = case.passes
    if options := _options(case.options, shared):
        made["options"] = options
    return made


def _options(options: ChatOptions, shared: ChatOptions | None = None) -> dict[str, Any]:
    """Those that are not as the shared ones, which are not as ggship's own."""
    usual = _fields(shared or ChatOptions())
    return {name: value for name, value in _fields(options).items() if value != usual[name]}


def _fields(options: ChatOptions) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in OPTION_KEYS}
    return {**values, "stop": _Flow(options.stop)}


def _key(options: ChatOptions) -> str:
    return repr(_fields(options))


def _assertion(item: Assertion) -> dict[str, Any]:
    made: dict[str, Any] = {"type": item.type}
    if item.value is not None:
        made["value"] = _value(item)
    usual = None if item.inner else kind_of(item.type).threshold
    if item.threshold != usual:
        made["threshold"] = item.threshold
    if item.weight != 1:
        made["weight"] = item.weight
    if item.metric:
        made["metric"] = item.metric
    if item.unit != "auto":
        made["unit"] = item.unit
    if item.inner:
        made["assert"] = [_assertion(one) for one in item.inner]
    return made


def _conversation(case: Case) -> dict[str, Any]:
    """`prompt`, with `system` where there is one; `messages` where that is not all of it."""
    roles = [turn["role"] for turn in case.messages]
    if roles == ["user"]:
        return {"prompt": _escaped(case.messages[0]["content"])}
    if roles == ["system", "user"]:
        return {name: _escaped(turn["content"]) for name, turn in zip(("system", "prompt"), case.messages, strict=True)}
    return {"messages": [_turn(turn) for turn in case.messages]}


def _turn(turn: Message) -> dict[str, Any]:
    if "by" in turn:
        return {"role": turn["role"], "by": turn["by"]}
    return {**_thawed(turn), "content": _escaped(turn["content"])}


def _thawed(value: Any) -> Any:
    """The value in the lists and mappings that YAML knows."""
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, list | tuple) else value


def _value(item: Assertion) -> Any:
    if isinstance(item.value, tuple):
        return [_escaped(text) for text in item.value]
    if kind_of(item.type).value in ("json", "json?"):
        return json.loads(item.value or "null")
    return _escaped(item.value or "")


def _escaped(text: str) -> str:
    return text.replace("{{", r"\{{")
