"""Findings on the files of a run: pickles, doubles, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ggship.errors import NotARun
from ggship.runs.files import list_directory, stays_inside
from ggship.runs.findings.catalogue import RULES
from ggship.runs.findings.model import Finding
from ggship.runs.history import step_of
from ggship.runs.model import Run

_INDEX = "adapter_model.safetensors.index.json"
_WEIGHTS = re.compile(r"adapter.*\.(safetensors|bin|pt)|adapter_model\.safetensors\.index\.json")
_SHOWN = 3
# What is only looked at, so that a link is left out and not refused (runs/trainers.py, runs/history.py).
_LOOKED_AT = frozenset(
    ("README.md", "args.json", "config.json", "debug.log", "llamaboard_config.yaml", "torchtune_config.yaml",
     "trainer_log.jsonl", "training_args.yaml")
)  # fmt: skip


def what_lies_in_the_run(run: Run) -> Iterator[Finding]:
    """Pickled weights that were allowed, several files of weights, links that were not followed."""
    if run.pickled:
        yield RULES["GS001"].found(
            f"{run.pickled}, read because of --allow-pickle",
            level="note",
            consequence="Nothing but tensors was read from it, by torch.load(weights_only=True) in another process.",
            fix="Save them as safetensors next time.",
        )
    yield from _doubles(run, sorted(list_directory(run.path)))
    left_out = [name for directory in dict.fromkeys((run.root, run.path)) for name in _links_out(directory, run.root)]
    if left_out:
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        yield RULES["GS002"].found(
            f"{left_out[0]}{more}: not read",
            level="warning",
            consequence="It was left out: the adapter is the one that lies in the run itself.",
        )


def _doubles(run: Run, names: list[str]) -> Iterator[Finding]:
    """Files that may hold another adapter: left by an earlier training, a copy before a change, another trainer."""
    taken = [run.pickled] if run.pickled else [file.name for file in run.tensor_files]
    used = taken[0] if len(taken) == 1 else _INDEX
    others = [name for name in names if _WEIGHTS.fullmatch(name) and name not in (*taken, used)]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        yield RULES["GS003"].found(f"{' and '.join([used, *others[:_SHOWN]])}{more}; {used} is used")


def _links_out(directory: Path, root: Path) -> list[str]:
    try:
        entries = list_directory(directory)
    except NotARun:
        return []
    return [
        name
        for name, entry in entries.items()
        if entry.is_symlink()
        and (name in _LOOKED_AT or step_of(name) is not None)
        and not stays_inside(directory / name, root)
    ]
