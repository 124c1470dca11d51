"""Findings on how training went, and on which of its checkpoints is used."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ggship.runs.config import CONFIG_NAME
from ggship.runs.files import MIB, read_head, stays_inside
from ggship.runs.findings.catalogue import RULES
from ggship.runs.findings.model import Finding
from ggship.runs.model import Checkpoint, Run

_LOOKED_AT = 10
_FEWEST_POINTS = 4
_SAME = ("peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "base_model_name_or_path")
_SAMPLES, _SAMPLE_BYTES = 16, 4096


def how_training_went(run: Run) -> Iterator[Finding]:
    """Damage, stale checkpoints, the best one, losses."""
    if run.history.damage:
        yield RULES["GS007"].found(run.history.damage)
    yield from _stale(run)
    yield from _best(run)
    yield from _losses(run)


def _stale(run: Run) -> Iterator[Finding]:
    ended = run.history.ended
    beyond = [checkpoint for checkpoint in run.checkpoints if ended is not None and checkpoint.step > ended]
    if beyond:
        yield RULES["GS501"].found(
            f"training ended at step {ended}, as trainer_state.json at the top of the run says, "
            f"and {beyond[-1].path.name} lies in it"
        )
        return
    ours = _config(run, run.path)
    for checkpoint in run.checkpoints[-_LOOKED_AT:]:
        other = _config(run, checkpoint.path)
        field = next((name for name in _SAME if other and other.get(name) != ours.get(name)), None)
        if field:
            theirs, used = _shown(other.get(field)), _shown(ours.get(field))
            yield RULES["GS501"].found(f"{checkpoint.path.name} has {field} {theirs}, the adapter used {used}")
            return


def _best(run: Run) -> Iterator[Finding]:
    if not run.checkpoints:
        return
    last = run.checkpoints[-1]
    best = next((checkpoint for checkpoint in run.checkpoints if checkpoint.best), None)
    if best is None:
        yield from _lowest(run, last)
    elif best.path == run.path or (run.path == run.root and _same_weights(run, best)):
        if best != last:
            yield RULES["GS503"].found(
                f"{best.path.name} was held to be best{_losses_of(best, last)}; it is the one used"
            )
    else:
        name = "the adapter at the top of the run" if run.path == run.root else run.path.name
        yield RULES["GS502"].found(f"{best.path.name} was held to be best, {name} is used{_losses_of(best, last)}")


def _lowest(run: Run, last: Checkpoint) -> Iterator[Finding]:
    """Training named none best: the evaluation losses may tell all the same."""
    scored = {c.eval_loss: c for c in run.checkpoints if c.eval_loss is not None and math.isfinite(c.eval_loss)}
    if last.eval_loss is None or not scored or min(scored) >= last.eval_loss:
        return
    lowest = scored[min(scored)]
    if lowest.path != run.path:
        yield RULES["GS503"].found(
            f"training named none best{_losses_of(lowest, last)}",
            fix=f"Compare it: point ggship at {lowest.path.name}.",
        )


def _losses_of(best: Checkpoint, last: Checkpoint) -> str:
    if best == last or best.eval_loss is None or last.eval_loss is None:
        return ""
    return f" (evaluation loss {best.eval_loss:.4g} at {best.path.name}, {last.eval_loss:.4g} at {last.path.name})"


def _losses(run: Run) -> Iterator[Finding]:
    losses = [(step, loss) for step, loss, _ in run.history.points if loss is not None]
    none = next(((step, loss) for step, loss in losses if not math.isfinite(loss)), None)
    if none:
        yield RULES["GS505"].found(f"the loss was {none[1]} at step {none[0]}")
        return
    # What reinforcement learning minimises need not fall; its rewards are what rises.
    if len(losses) < _FEWEST_POINTS or any(key.startswith("reward") for key in run.history.keys):
        return
    quarter = max(1, len(losses) // 4)
    first, final = (_mean([loss for _, loss in part]) for part in (losses[:quarter], losses[-quarter:]))
    if final >= 0.99 * first and first > 0:
        how = f" (means of {quarter} logged losses each)" if quarter > 1 else ""
        yield RULES["GS504"].found(f"{first:.4g} at first, {final:.4g} at last{how}")


def _shown(value: object) -> str:
    """A value of a config; of a path its last part alone."""
    return f"{value.rpartition('/')[2] if isinstance(value, str) else value!r:.40}"


def _mean(values: Sequence[float]) -> float:
    return sum(value / len(values) for value in values)


def _config(run: Run, directory: Path) -> dict[str, Any]:
    """The config of an adapter that may not be the one used; {} where it cannot be read: it proves nothing then."""
    try:
        value = json.loads(read_head(directory / CONFIG_NAME, run.root, MIB))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _same_weights(run: Run, checkpoint: Checkpoint) -> bool:
    """Whether the weights used are those of the checkpoint, by samples of their bytes.

    transformers loads the best checkpoint at the end (load_best_model_at_end), and saves it at the top again.
    """
    ours = run.tensor_files[0]
    theirs = checkpoint.path / ours.name
    if run.pickled or not theirs.is_file() or not stays_inside(theirs, run.root):
        return False
    try:
        size = ours.stat().st_size
        if len(run.tensor_files) > 1 or size != theirs.stat().st_size:
            return False
        with ours.open("rb") as a, theirs.open("rb") as b:
            for number in range(_SAMPLES):
                at = number * max(0, size - _SAMPLE_BYTES) // (_SAMPLES - 1)
                a.seek(at)
                b.seek(at)
                if a.read(_SAMPLE_BYTES) != b.read(_SAMPLE_BYTES):
                    return False
    except OSError:
        return False
    return True
