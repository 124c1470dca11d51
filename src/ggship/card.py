"""The model card of a package: README.md, with the hub's own metadata at its top."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ggship.bases.portable import is_repository
from ggship.settings import templates_dir

CARD_TEMPLATE = "model-card.md.j2"


def render_card(document: Mapping[str, Any], curve: Sequence[tuple[int, float | None, float | None]]) -> str:
    """Markdown from ggship.json and the training curve (step, loss, evaluation loss)."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        autoescape=False,  # Markdown has no escaping of its own: `cell` and `yaml` are for what is not ours
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["size"] = human_size
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    environment.filters["cell"] = cell
    environment.filters["yaml"] = quoted
    losses = [loss for _, loss, _ in curve if loss is not None]
    named = str(document["base"]["named"])
    return environment.get_template(CARD_TEMPLATE).render(
        **document,
        losses=(losses[0], losses[-1]) if losses else None,
        base_model=named if is_repository(named) else "",  # the hub knows no other names
    )


def cell(text: object) -> str:
    """A text of someone else in a cell of a Markdown table: on one line, and only as text."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!])", r"\\\1", " ".join(str(text).split()))


def quoted(text: object) -> str:
    """A text as one YAML value, whatever is in it: a JSON string is one."""
    return json.dumps(str(text), ensure_ascii=True)


def human_size(count: float) -> str:
    """Bytes in the largest unit that keeps the number above 1: "98.4 MB" (powers of 1000, as disks are sold)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
