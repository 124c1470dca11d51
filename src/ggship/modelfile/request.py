"""The same value as the fields of Ollama's create request, which loses nothing."""

from __future__ import annotations

from typing import Any

from ggship.modelfile.model import Modelfile, Scalar
from ggship.modelfile.parameters import DEPRECATED, LISTS, typed


def to_parameters(pairs: tuple[tuple[str, Scalar], ...]) -> dict[str, Any]:
    """The `parameters` of a create request: numbers and booleans typed, `stop` a list, of any other the last counts.

    Deprecated ones are left out, as Ollama does. Raises UsageError for a name or a value that Ollama refuses.
    """
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in DEPRECATED:
            continue
        if name in LISTS:
            result.setdefault(name, []).append(str(value))
        else:
            result[name] = typed(name, value) if isinstance(value, str) else value
    return result


def to_request(modelfile: Modelfile) -> dict[str, Any]:
    """All fields of POST /api/create but `model`, `from`, `files` and `adapters`, which need names and digests.

    Only what the Modelfile says is in it (Ollama: api/types.go CreateRequest, parser/parser.go CreateRequest).
    """
    request: dict[str, Any] = {}
    for name in ("template", "system", "renderer", "parser"):
        if getattr(modelfile, name) is not None:
            request[name] = getattr(modelfile, name)
    if modelfile.requires is not None:
        request["requires"] = modelfile.requires.removeprefix("v")
    if parameters := to_parameters(modelfile.parameters):
        request["parameters"] = parameters
    if modelfile.messages:
        request["messages"] = [{"role": role, "content": text} for role, text in modelfile.messages]
    if modelfile.licenses:
        request["license"] = list(modelfile.licenses)
    return request
