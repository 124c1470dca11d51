"""The JSON Schema of ggship.yaml, for completion in editors: made from what the reader knows, so that they agree."""

from __future__ import annotations

from typing import Any

from ggship.project.model import GATEWAY, PACKAGE, PUBLISH, Option
from ggship.project.read import KEYS, VERSION

_ABOUT = {
    "version": "The version of this format.",
    "run": "The folder that training wrote, or several of one base, each with its weight: lora-out@0.7.",
    "name": "The name that people will use.",
    "base": "A GGUF file, a Hugging Face directory, ollama:NAME or hf:REPO[@REV][:FILE]; otherwise ggship finds it.",
    "suite": "Questions that must be passed.",
    "gates": "Rules that must hold beside those of the suite.",
    "host": "The Ollama server; otherwise OLLAMA_HOST, then 127.0.0.1:11434.",
    "out": "The package's folder; otherwise dist/NAME beside this file.",
    "package": "Further options of `ggship package`.",
    "publish": "Where the proven model is pushed.",
    "gateway": "Gateways that lead clients to it.",
}
_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}


def project_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of ggship.yaml."""
    parts: dict[str, Any] = {
        "version": {"const": VERSION},
        "run": _one_or_more(_TEXT),
        "gates": _one_or_more({"type": "string", "examples": ["pass_rate >= 0.9", "regressions <= 0"]}),
        "package": _mapping(PACKAGE),
        "publish": _one_or_more({"anyOf": [_TEXT, _mapping(PUBLISH, to=_TEXT)]}),
        "gateway": _one_or_more({"anyOf": [_TEXT, {**_mapping(GATEWAY, name=_TEXT), "required": []}]}),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ggship project",
        "type": "object",
        "additionalProperties": False,
        "required": ["run", "name"],
        "properties": {key: {**parts.get(key, _TEXT), "description": _ABOUT[key]} for key in KEYS},
    }


def _one_or_more(one: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def _mapping(options: tuple[Option, ...], **required: dict[str, Any]) -> dict[str, Any]:
    properties = {option.key: {**_kind(option), "description": option.about} for option in options}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **properties},
    }


def _kind(option: Option) -> dict[str, Any]:
    if option.kind == "choice":
        return {"enum": list(option.choices)}
    if option.kind == "list":
        return _one_or_more({"type": ["string", "number", "boolean"]})
    return {"type": {"yes": "boolean", "number": "number"}.get(option.kind, "string")}
