"""What /api/show tells of a model, read out of its text fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BLOB = re.compile(r"^(FROM|ADAPTER) (.*sha256-([0-9a-f]{64}))\s*$", re.MULTILINE)
_OWN_PROMPT = re.compile(r"^((?:RENDERER|PARSER) \S+)\s*$", re.MULTILINE)
_GO_STRING = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))")
_GO_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def blob_paths(shown: Mapping[str, Any], command: str) -> list[str]:
    """Paths on the server of the blobs after FROM or ADAPTER. FROM's first is the model itself, others projectors."""
    return [path for name, path, _ in _blobs(shown) if name == command]


def blob_digests(shown: Mapping[str, Any], command: str) -> list[str]:
    """The sha256 (hex) of the blobs after FROM or ADAPTER."""
    return [digest for name, _, digest in _blobs(shown) if name == command]


def own_prompt(shown: Mapping[str, Any]) -> str:
    """The renderer and parser of the model, as commands of a Modelfile; "" where it has none.

    A TEMPLATE or SYSTEM text with such a line in it counts too: then the model is taken for one that has them.
    """
    return ", ".join(_OWN_PROMPT.findall(str(shown.get("modelfile", ""))))


def _blobs(shown: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    # The commands of `ollama show` come first: FROM, ADAPTER; a TEMPLATE or SYSTEM after them may hold any text.
    head = re.split(
        r"^(?:TEMPLATE|SYSTEM|PARAMETER|LICENSE|MESSAGE) ", str(shown.get("modelfile", "")), flags=re.MULTILINE
    )[0]
    return [(name, path, digest) for name, path, digest in _BLOB.findall(head)]


def parameters(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The model's parameters: numbers, booleans and strings; one that has several lines (`stop`) is a list.

    Source: server/routes.go, GetModelInfo: name padded to 30, a blank, the value in Go's %#v.
    """
    result: dict[str, Any] = {}
    for line in str(shown.get("parameters") or "").split("\n"):
        name, _, text = line.partition(" ")
        if not name:
            continue
        value = _go_value(text.strip())
        if name == "stop":
            result.setdefault(name, []).append(value)
        elif name in result:
            before = result[name]
            result[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            result[name] = value
    return result


def same_parameter(ours: Any, theirs: Any) -> bool:
    """Whether a parameter that we sent is the one that the server tells: 4096 equals 4096.0, "x" equals ["x"]."""
    if isinstance(ours, (list, tuple)) or isinstance(theirs, list):
        mine = list(ours) if isinstance(ours, (list, tuple)) else [ours]
        other = theirs if isinstance(theirs, list) else [theirs]
        return len(mine) == len(other) and all(same_parameter(a, b) for a, b in zip(mine, other, strict=True))
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
        return float(ours) == float(theirs)
    return bool(ours == theirs)


def _go_value(text: str) -> Any:
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return _GO_STRING.sub(_unescape, text[1:-1])
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code:
        return chr(int(code, 16))
    if match[4]:
        return chr(int(match[4], 8))
    return _GO_PLAIN.get(match[5], match[5])
