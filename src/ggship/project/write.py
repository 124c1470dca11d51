"""A ggship.yaml for people to go on with: what was chosen, and in comments what could be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def render_project(
    *,
    run: str,
    name: str,
    base: str = "",
    suite: str = "",
    gates: Sequence[str] = (),
    host: str = "",
    publish: Sequence[str] = (),
    gateways: Sequence[str] = (),
) -> str:
    """The text of the file; paths as they are to stand there. Law: parse_project reads it back to the same."""
    lines = [
        "# What `ggship ship` does: package, prove, make live, publish, route. `ggship plan` shows what would change.",
        "version: 1",
        f"run: {_scalar(run)}",
        f"name: {_scalar(name)}",
        _or_hint("base", base, "ollama:NAME  # otherwise ggship finds the base of training, and says which"),
        _or_hint("suite", suite, "suite.yaml  # make one of your data: ggship suite from DATA --out suite.yaml"),
        *_listed("gates", gates, "[pass_rate >= 0.9, regressions <= 0]  # beside those of the suite"),
        _or_hint("host", host, "http://127.0.0.1:11434  # the Ollama server, otherwise OLLAMA_HOST"),
        "# package: {quant: Q8_0, system: You are a law helper.}  # options of `ggship package`",
        *_listed("publish", publish, "[ollama:localhost:5000/ns/NAME]"),
        *_listed("gateway", gateways, "[office]  # ggship gateway add office --url URL"),
    ]
    return "\n".join(lines) + "\n"


def _or_hint(key: str, value: str, hint: str) -> str:
    return f"{key}: {_scalar(value)}" if value else f"# {key}: {hint}"


def _listed(key: str, values: Sequence[str], hint: str) -> list[str]:
    return [f"{key}:", *(f"  - {_scalar(value)}" for value in values)] if values else [f"# {key}: {hint}"]


def _scalar(text: str) -> str:
    """Text as YAML takes it on one line: bare where it is read back as it is, in JSON's quotes otherwise."""
    import yaml

    try:
        read: Any = yaml.safe_load(f"k: {text}")
    except yaml.YAMLError:
        read = None
    plain = isinstance(read, dict) and read.get("k") == text and "\n" not in text
    return text if plain else json.dumps(text, ensure_ascii=False)
