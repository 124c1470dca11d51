"""Read how training went: checkpoints, losses, and which one the trainer held to be best."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ggship.errors import BadFile
from ggship.runs.config import CONFIG_NAME
from ggship.runs.files import MIB, is_regular, list_directory, read_object, stays_inside
from ggship.runs.logs import read_logs
from ggship.runs.model import Checkpoint, History, Logged, Point, Run

_STATE = "trainer_state.json"
_STATE_LIMIT = 32 * MIB
_OF_THE_MACHINE = re.compile(
    r"runtime|_per_|flos|memory|vram|elapsed|remaining|percentage|speed|throughput|_steps|_tokens|time"
)
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
    """The history that the run's last trainer_state.json tells, else the trainer's own log.

    It is no part of the model, so a damaged one is told and not raised.
    """
    for directory in (root, *reversed(tuple(checkpoints))):
        file = directory / _STATE
        if is_regular(file):
            source = _STATE if directory == root else f"{directory.name}/{_STATE}"
            try:
                return _from_state(read_object(file, root, _STATE_LIMIT), source, at_top=directory == root)
            except BadFile as error:
                place = error.where.removeprefix(str(file)).lstrip(":, ")
                return History(damage=f"{source}: {error.message}{place and f' ({place})'}")
    for name, rows in read_logs(root, _STATE_LIMIT):
        curve = _curve(rows)
        if curve:
            return History(
                _points(curve), keys=frozenset(key for _, row in rows for key in row), curve=curve, source=name
            )
    return History()


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


def _from_state(state: Mapping[str, Any], source: str, *, at_top: bool) -> History:
    rows = [(row.get("step"), row) for row in _list(state.get("log_history")) if isinstance(row, dict)]
    best = state.get("best_model_checkpoint")
    # The path is as it was on the machine that trained, which may have been another one: only its last part counts.
    name = re.split(r"[\\/]", best.rstrip("\\/"))[-1] if isinstance(best, str) else ""
    if not name and isinstance(state.get("best_global_step"), int):
        name = f"checkpoint-{state['best_global_step']}"
    curve, ended = _curve(rows), state.get("global_step")
    return History(
        _points(curve),
        name,
        frozenset(key for _, row in rows for key in row),
        ended if at_top and type(ended) is int else None,
        curve=curve,
        source=source,
        state={key: value for key, value in state.items() if type(value) in (int, float)},
    )


def _curve(rows: Iterable[tuple[Any, Mapping[str, Any]]]) -> tuple[Logged, ...]:
    """The rows by step; what several rows say of one step is put together."""
    merged: dict[int, dict[str, float]] = {}
    for step, row in rows:
        if type(step) is int and step >= 0:
            values = merged.setdefault(step, {})
            values.update((key, number) for key, value in row.items() if (number := _logged(key, value)) is not None)
    return tuple(Logged(step, values) for step, values in sorted(merged.items()) if values)


def _points(curve: Iterable[Logged]) -> tuple[Point, ...]:
    points = ((logged.step, logged.values.get("loss"), logged.values.get("eval_loss")) for logged in curve)
    return tuple(point for point in points if point[1:] != (None, None))


def _logged(key: str, value: Any) -> float | None:
    """A number that was measured of the model; not the time, speed and memory that the machine took for it."""
    if len(key) > 80 or key == "step" or _OF_THE_MACHINE.search(key):
        return None
    return _number(value)


def _number(value: Any) -> float | None:
    if type(value) is float:
        return value  # NaN too: a training that diverged should show
    return float(value) if type(value) is int and abs(value) < 1e300 else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
