"""The model card of a package: README.md, with the hub's own metadata at its top."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ggship.bases.portable import is_repository
from ggship.runs.curve import chosen_points
from ggship.settings import templates_dir

CARD_TEMPLATE = "model-card.md.j2"


_MOST_ROWS = 10
_LONGEST_VALUE = 200


def render_card(document: Mapping[str, Any]) -> str:
    """Markdown from ggship.json."""
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
    environment.filters["trained_with"] = trained_with
    environment.filters["loss"] = _loss
    environment.filters["shown"] = shown
    named = str(document["base"]["named"])
    return environment.get_template(CARD_TEMPLATE).render(
        **document,
        trainings=_trainings(document["run"]),
        base_model=named if is_repository(named) else "",  # the hub knows no other names
    )


def _trainings(run: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], list[Mapping[str, Any]]]]:
    """(name, what is known of its training, its curve in a few rows) of the run, or of each run of a blend."""
    runs = run.get("shares") or [run]
    found = [(one["name"], one["training"], _rows(one["training"]["curve"]["points"])) for one in runs]
    return [item for item in found if item[1]["settings"] or item[1]["prompts"] or item[2]]


def trained_with(trainer: Mapping[str, Any] | None) -> str:
    """The program that trained; with what is known for and against it where that is not sure."""
    if trainer is None:
        return ""
    unsure = trainer["confidence"] != "high"
    doubt = f" ({trainer['confidence']} confidence: {trainer['evidence']})" if unsure else ""
    return cell(f", trained with {trainer['name']} {trainer['version']}".rstrip() + doubt)


def _rows(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most ten steps of training at which a loss was logged."""
    lossy = [point for point in points if "loss" in point or "eval_loss" in point]
    return [lossy[index] for index in chosen_points(["eval_loss" in point for point in lossy], _MOST_ROWS)]


def _loss(point: Mapping[str, Any], name: str) -> str:
    """With four digits; "" where none was logged, and "not a number" where training diverged."""
    if name not in point:
        return ""
    return "not a number" if point[name] is None else f"{point[name]:.4g}"


def shown(value: object) -> str:
    """A setting as a reader wants it: yes and no, lists with commas, long texts cut."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} ..."


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
