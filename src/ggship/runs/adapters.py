"""All adapters of a run, from its folders alone: one that is damaged is no reason not to name the others."""

from __future__ import annotations

from pathlib import Path

from ggship.digests import DigestCache
from ggship.errors import GgshipError
from ggship.runs.history import list_checkpoints
from ggship.runs.model import Checkpoint
from ggship.runs.places import choose_place
from ggship.runs.reading import read_run

FINAL = "final"


def adapters_of(run: Path, *, allow_pickle: bool = False) -> dict[str, tuple[Path, Checkpoint | None]]:
    """Name -> (folder, checkpoint), in the order of training; the adapter at the top is `FINAL` and comes last.

    One at the top that is the last checkpoint again, byte for byte, is that one. Raises NotARun where there is none.
    """
    place = choose_place(run.expanduser())
    checkpoints = list_checkpoints(place.checkpoints, place.history)
    found: dict[str, tuple[Path, Checkpoint | None]] = {each.path.name: (each.path, each) for each in checkpoints}
    if place.path == place.root and not (
        checkpoints and _same(place.root, checkpoints[-1].path, allow_pickle=allow_pickle)
    ):
        found[FINAL] = (place.root, None)
    return found


def _same(one: Path, other: Path, *, allow_pickle: bool) -> bool:
    """Whether both are the same adapter, byte for byte; one that cannot be read is like no other."""
    try:
        runs = [read_run(path, allow_pickle=allow_pickle) for path in (one, other)]
    except GgshipError:
        return False
    digests = DigestCache()
    first, second = ([digests.sha256(path) for path in run.tensor_files] for run in runs)
    return first == second and runs[0].config == runs[1].config
