"""Read how training went: checkpoints, losses, and which one the trainer held to be best."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from ggship.errors import BadFile
from ggship.runs.config import CONFIG_NAME
from ggship.runs.files import MIB, is_regular, list_directory, read_head, read_object, stays_inside
from ggship.runs.model import Checkpoint, History, Point, Run

_STATE = "trainer_state.json"
_STATE_LIMIT = 32 * MIB
_MOST_ROWS = 500_000
_LOG = "trainer_log.jsonl"
_DIRECTORY = re.compile(r"(?:checkpoint-|epoch_)(\d{1,12})")  # transformers; torchtune


def step_of(name: str) -> int | None:
    """The step in a checkpoint directory's name; None where it is no such name."""
    match = _DIRECTORY.fullmatch(name)
    return int(match[1]) if match else None


def checkpoint_directories(root: Path) -> tuple[Path, ...]:
    """Directories of root that are checkpoints with an adapter, by step. Links out of the run are left out."""
    found = [
        (step, root / name)
        for name, entry in list_directory(root).items()
        if (step := step_of(name)) is not None and entry.is_dir() and is_regular(root / name / CONFIG_NAME)
    ]
    return tuple(path for _, path in sorted(found) if stays_inside(path, root))


def read_history(root: Path, checkpoints: Iterable[Path]) -> History:
    """The history that the run's last trainer_state.json tells, else LLaMA-Factory's trainer_log.jsonl.

    It is no part of the model, so a damaged one is told and not raised.
    """
    for directory in (root, *reversed(tuple(checkpoints))):
        file = directory / _STATE
        if is_regular(file):
            try:
                return _from_state(read_object(file, root, _STATE_LIMIT), at_top=directory == root)
            except BadFile as error:
                place = error.where.removeprefix(str(file)).lstrip(":, ")
                return History(damage=f"{file.relative_to(root)}: {error.message}{place and f' ({place})'}")
    return History(points=_from_log(read_head(root / _LOG, root, _STATE_LIMIT)))


def list_checkpoints(directories: Iterable[Path], history: History) -> tuple[Checkpoint, ...]:
    """The checkpoints with their losses; at most one is best, and only where the trainer said so."""
    return tuple(_checkpoint(path, history) for path in directories)


def training_curve(run: Run) -> list[Point]:
    """(step, loss, eval_loss) by step, as the trainer logged them; a loss it did not log there is None."""
    return list(run.history.points)


def _checkpoint(path: Path, history: History) -> Checkpoint:
    step = step_of(path.name) or 0
    losses = [loss for at, loss, _ in history.points if loss is not None and at <= step]
    evals = [value for at, _, value in history.points if value is not None and at == step]
    return Checkpoint(
        path, step, losses[-1] if losses else None, evals[-1] if evals else None, best=path.name == history.best
    )


def _from_state(state: Mapping[str, Any], *, at_top: bool) -> History:
    rows = [row for row in _list(state.get("log_history")) if isinstance(row, dict)]
    best = state.get("best_model_checkpoint")
    # The path is as it was on the machine that trained, which may have been another one: only its last part counts.
    name = re.split(r"[\\/]", best.rstrip("\\/"))[-1] if isinstance(best, str) else ""
    if not name and isinstance(state.get("best_global_step"), int):
        name = f"checkpoint-{state['best_global_step']}"
    keys = frozenset(key for row in rows for key in row)
    points = _points((row.get("step"), row.get("loss"), row.get("eval_loss")) for row in rows)
    ended = state.get("global_step")
    return History(points, name, keys, ended if at_top and type(ended) is int else None)


def _from_log(text: str) -> tuple[Point, ...]:
    rows: list[tuple[Any, Any, Any]] = []
    for line in islice(StringIO(text), _MOST_ROWS):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line may be cut: training can have been stopped there
        if isinstance(row, dict):
            rows.append((row.get("current_steps"), row.get("loss"), row.get("eval_loss")))
    return _points(rows)


def _points(rows: Iterable[tuple[Any, Any, Any]]) -> tuple[Point, ...]:
    merged: dict[int, tuple[float | None, float | None]] = {}
    for step, loss, eval_loss in rows:
        if type(step) is not int:
            continue
        old_loss, old_eval = merged.get(step, (None, None))
        new_loss, new_eval = _number(loss), _number(eval_loss)
        merged[step] = (old_loss if new_loss is None else new_loss, old_eval if new_eval is None else new_eval)
    return tuple((step, loss, value) for step, (loss, value) in sorted(merged.items()) if (loss, value) != (None, None))


def _number(value: Any) -> float | None:
    if type(value) is float:
        return value  # NaN too: a training that diverged should show
    return float(value) if type(value) is int and abs(value) < 1e300 else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
