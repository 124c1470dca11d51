"""Chat templates by name, for runs that carry none: data in templates/chat, one Jinja file each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ggship.errors import UsageError
from ggship.prompts.chat import ChatTemplate
from ggship.settings import templates_dir


def families() -> tuple[str, ...]:
    """All names, sorted."""
    return tuple(sorted(_index()))


def family(name: str) -> ChatTemplate:
    """The chat template of that family, with the BOS and EOS tokens it is usually trained with.

    Raises UsageError for a name that is not there.
    """
    index = _index()
    if name not in index:
        from difflib import get_close_matches

        near = get_close_matches(name.lower(), sorted(index), n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(index))}"
        raise UsageError(f"there is no chat template named {name!r}: no such file, and no such family", hint=hint)
    text = (_folder() / f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(text, index[name]["bos"], index[name]["eos"], source=f"the {name} family")


def _folder() -> Path:
    return templates_dir() / "chat"


def _index() -> dict[str, dict[str, Any]]:
    index: dict[str, dict[str, Any]] = json.loads((_folder() / "families.json").read_text(encoding="utf-8"))
    return index
