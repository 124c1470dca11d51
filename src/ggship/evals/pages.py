"""Pages that need no other file and no network: style and script inside, and a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from ggship.evals.odd import escape_odd
from ggship.evals.summary import percent
from ggship.settings import templates_dir

LONGEST_WORDS = 1_000


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """The page of a template in templates/report that extends page.html.j2. Every value is escaped.

    Its filters: `percent`, `figure(digits)`, `seen` (what cannot be seen made visible, and no more than a thousand
    characters). Law: the policy names the very style and script that the page holds, and nothing else may load or run.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = templates_dir() / "report"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, figure=_figure, seen=_seen)
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = (folder / "report.js").read_text(encoding="utf-8")
    page = {"style": style, "script": script, "style_hash": _hash(style), "script_hash": _hash(script)}
    return environment.get_template(template).render({**page, **values})


def _seen(text: str) -> str:
    shown = escape_odd(text[: LONGEST_WORDS + 1])
    return shown if len(text) <= LONGEST_WORDS else shown[:LONGEST_WORDS] + "…"


def _figure(value: float | None, digits: int = 3, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
