"""The tokens that a saved tokenizer has beside its vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ggship.runs.files import MIB, read_head

_LIMIT = 32 * MIB
_HEAD = 4 * MIB


def added_tokens(directory: Path, run: Path) -> dict[str, int]:
    """Text -> id of every added token, also of those that the tokenizer always had; {} where no file tells.

    transformers 4 lists them in tokenizer_config.json, older ones in added_tokens.json, and every fast tokenizer in
    tokenizer.json, whose vocabulary (megabytes) comes after them.
    """
    found: dict[str, int] = {}
    for text, number in _object(directory / "added_tokens.json", run).items():
        _take(found, text, number)
    decoder = _object(directory / "tokenizer_config.json", run).get("added_tokens_decoder")
    for number, token in decoder.items() if isinstance(decoder, Mapping) else ():
        if isinstance(token, Mapping) and number.isdecimal() and len(number) < 12:
            _take(found, token.get("content"), int(number))
    for token in _listed(read_head(directory / "tokenizer.json", run, _HEAD)):
        if isinstance(token, Mapping):
            _take(found, token.get("content"), token.get("id"))
    return found


def _take(found: dict[str, int], text: Any, number: Any) -> None:
    if isinstance(text, str) and type(number) is int and 0 <= number < 1 << 31:
        found[text] = number


def _listed(head: str) -> list[Any]:
    at = head.find('"added_tokens":')
    if at < 0:
        return []
    at = head.find("[", at)
    try:
        value, _ = json.JSONDecoder().raw_decode(head, at) if at > 0 else ([], 0)
    except (ValueError, RecursionError):
        return []
    return value if isinstance(value, list) else []


def _object(file: Path, run: Path) -> dict[str, Any]:
    """The object in a file that may be missing or damaged: then it tells nothing."""
    try:
        value = json.loads(read_head(file, run, _LIMIT) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
