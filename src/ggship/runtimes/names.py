"""Names of models, as Ollama allows them."""

from __future__ import annotations

import re

from ggship.errors import UsageError

# Ollama 0.34.4: types/model/name.go (isValidPart, isValidLen).
_NAME = re.compile(
    r"(?:(?P<scheme>https?)://)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349})/(?=[^/]+/))?"
    r"(?:(?P<namespace>[A-Za-z0-9_][A-Za-z0-9_-]{0,79})/)?"
    r"(?P<model>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}))?\Z"
)
_HOST = "registry.ollama.ai"
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.-]+")
MODEL_LENGTH = 80


def check_model_name(name: str) -> None:
    """Raise UsageError, with a name that would do, unless Ollama takes this one and can find it again.

    The tags `local` and `cloud`, and those that end in `-cloud`, are taken by create and then read as the place where a
    model runs, so that the model could never be asked (Ollama 0.34.4: internal/modelref/modelref.go).
    """
    match = _NAME.match(name)
    if match is None:
        raise UsageError(
            f"Ollama takes no model of the name {name!r}",
            where=_reason(name),
            hint=f"for example: {suggest_name(name)}",
        )
    tag = (match["tag"] or "").lower()
    if tag in ("local", "cloud") or tag.endswith("-cloud"):
        raise UsageError(
            f"the tag {match['tag']!r} means to Ollama where a model runs: {name!r} could be made, but never asked",
            hint=f"for example: {suggest_name(name)}",
        )


def suggest_name(name: str) -> str:
    """The nearest name that Ollama takes, without a tag that it would misread."""
    head, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    parts = [_clean(part) for part in head.split("/")]
    parts = [part for part in parts if part]
    model = parts.pop() if parts else "my-model"
    namespace = parts.pop().replace(".", "-") if parts else ""
    tag = _clean(tag)
    if tag.lower() in ("local", "cloud") or tag.lower().endswith("-cloud"):
        tag = re.sub(r"-?(local|cloud)\Z", "", tag, flags=re.IGNORECASE)
    return (f"{namespace}/" if namespace else "") + model + (f":{tag}" if tag else "")


def full_name(name: str) -> str:
    """The name as servers list it: law-helper, library/law-helper and registry.ollama.ai/library/law-helper are all
    law-helper:latest. Source: Ollama 0.34.4, types/model/name.go (DisplayShortest).
    """
    shown = re.sub(r"\Ahttps?://", "", name)
    if shown.lower().startswith(f"{_HOST}/") and shown.count("/") == 2:
        shown = shown[len(_HOST) + 1 :]
    if shown.lower().startswith("library/") and shown.count("/") == 1:
        shown = shown.partition("/")[2]
    return shown if ":" in shown.rpartition("/")[2] else f"{shown}:latest"


def _clean(part: str) -> str:
    return _FORBIDDEN.sub("-", part.strip()).strip("-.").lower()[:MODEL_LENGTH].rstrip("-.")


def _reason(name: str) -> str:
    if not name.strip():
        return "it is empty"
    if any(character.isspace() for character in name):
        return "it has a space in it"
    if "@" in name:
        return "a digest names no model that can be made"
    bad = sorted({character for character in name if not re.match(r"[A-Za-z0-9_.:/-]", character)})
    if bad:
        return f"it has {' '.join(bad)} in it; letters a-z, digits, - _ and . are allowed"
    model = name.rpartition("/")[2].partition(":")[0]
    if len(model) > MODEL_LENGTH:
        return f"it has {len(model)} characters; {MODEL_LENGTH} are allowed"
    return "NAME, NAME:TAG or NAMESPACE/NAME:TAG; each begins with a letter or digit, and a namespace has no dot"
