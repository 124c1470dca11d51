"""What ggship makes of a run, through the functions that its command line calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.model import Base
from ggship.convert import convert_adapter
from ggship.convert.merging import merge_run
from ggship.convert.routes import route_of
from ggship.errors import NotExpressible
from ggship.gguf.merge import merge_adapter
from ggship.runner import Runner
from ggship.runs import read_run


@dataclass(frozen=True)
class Shipped:
    """One thing that could be served: a model, with an adapter or with it merged in. way: adapter, merged."""

    way: str
    model: Path
    adapter: Path | None = None


def base_of(folder: Path, gguf: Path) -> Base:
    """A base of which both the directory and the GGUF file are at hand."""
    return replace(base_from_gguf(gguf), config_dir=folder)


def ship(run_dir: Path, folder: Path, gguf: Path, out: Path, runner: Runner) -> tuple[str, list[Shipped]]:
    """Everything ggship can make of the run on this base (its Hugging Face folder and its GGUF), and by which route.

    Raises NotExpressible where it makes nothing.
    """
    run, base = read_run(run_dir), base_of(folder, gguf)
    route = route_of(run, base)
    merged = out / "merged.gguf"
    if route.kind != "pairs":
        merge_run(run, base, merged, route=route, runner=runner, threads=1)
        return route.kind, [Shipped("merged", merged)]
    adapter = out / "adapter.gguf"
    convert_adapter(run, adapter, base=base, runner=runner)
    served = Shipped("adapter", gguf, adapter)
    merge_adapter(gguf, adapter, merged, threads=1)
    return "pairs", [served, Shipped("merged", merged)]


def refusal_code(run_dir: Path, folder: Path, gguf: Path, out: Path, runner: Runner) -> str:
    """The code with which ggship refuses the run. Fails where it does not, or says no reason."""
    with pytest.raises(NotExpressible) as refusal:
        ship(run_dir, folder, gguf, out, runner)
    assert refusal.value.exit_code == 4
    assert refusal.value.where, "a refusal names its reason"
    return refusal.value.code
