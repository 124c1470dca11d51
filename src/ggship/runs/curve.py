"""The training curve and the record of training, as documents: for `inspect --json`, and for a package."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ggship.runs.model import Logged, Run, Trainer
from ggship.runs.trainers.recorded import without_secrets

MOST_POINTS = 200
"""In a package: enough to draw a curve, whatever training logged."""


def thinned(curve: Sequence[Logged], most: int = MOST_POINTS) -> tuple[Logged, ...]:
    """At most `most` of the points."""
    evaluated = [any(key.startswith("eval_") for key in logged.values) for logged in curve]
    return tuple(curve[index] for index in chosen_points(evaluated, most))


def chosen_points(evaluated: Sequence[bool], most: int) -> list[int]:
    """Which points to keep, evenly: the first, the last, and half of the room for those with an evaluation."""
    count = len(evaluated)
    if count <= most:
        return list(range(count))
    kept = set(_evenly([index for index in range(count) if evaluated[index]], most // 2)) | {0, count - 1}
    rest = [index for index in range(count) if index not in kept]
    return sorted(kept | set(_evenly(rest, most - len(kept))))


def trainer_document(trainer: Trainer | None) -> dict[str, Any] | None:
    """{name, version, evidence, confidence, marks, against}, or None."""
    if trainer is None:
        return None
    return {
        "name": trainer.name,
        "version": trainer.version,
        "evidence": trainer.evidence,
        "confidence": trainer.confidence,
        "marks": list(trainer.marks),
        "against": list(trainer.against),
    }


def training_document(run: Run, *, whole: bool) -> dict[str, Any]:
    """{settings, prompts, doubts, curve}. whole: with every point, and with the texts of templates; else for a package.

    A number that is not finite is null: JSON has no word for it.
    """
    training, history = run.training, run.history
    points = history.curve if whole else thinned(history.curve)
    return {
        "settings": [
            {"name": setting.name, "value": _plain(setting.value), "source": setting.source}
            for setting in training.settings
        ],
        "prompts": [
            {
                "kind": prompt.kind,
                "name": prompt.name,
                **({"text": prompt.text, "parts": dict(prompt.parts)} if whole else {}),
                "system": None if prompt.system is None else without_secrets(prompt.system),
                "thinking": prompt.thinking,
                "source": prompt.source,
                "confidence": prompt.confidence,
            }
            for prompt in training.prompts
        ],
        "doubts": list(training.doubts),
        "curve": {
            "source": history.source,
            "logged": len(history.curve),
            "points": [
                {"step": point.step, **{key: finite(value) for key, value in sorted(point.values.items())}}
                for point in points
            ],
        },
    }


def finite(value: float | None) -> float | None:
    """The number, None where it is none or not finite."""
    return value if value is not None and math.isfinite(value) else None


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _evenly(items: Sequence[int], count: int) -> list[int]:
    """`count` of the items, evenly, with the first and the last."""
    if len(items) <= count or count < 2:
        return list(items[:count])
    return [items[round(number * (len(items) - 1) / (count - 1))] for number in range(count)]
