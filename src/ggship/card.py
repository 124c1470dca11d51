"""The model card of a package: README.md, with the hub's own metadata at its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ggship.settings import templates_dir


def render_card(document: Mapping[str, Any], curve: Sequence[tuple[int, float | None, float | None]]) -> str:
    """Markdown from ggship.json and the training curve (step, loss, evaluation loss)."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        autoescape=False,  # Markdown, and every value is ours or a number; names are checked before
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["size"] = human_size
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    losses = [loss for _, loss, _ in curve if loss is not None]
    return environment.get_template("model-card.md.j2").render(
        **document, losses=(losses[0], losses[-1]) if losses else None
    )


def human_size(count: float) -> str:
    """Bytes in the largest unit that keeps the number above 1: "98.4 MB" (powers of 1000, as disks are sold)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
