"""What ggship makes of a run, through the functions that its command line calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.model import Base
from ggship.convert import convert_adapter
from ggship.errors import Refused
from ggship.gguf.merge import merge_adapter
from ggship.runner import Runner
from ggship.runs import Run, obstacles, read_run


@dataclass(frozen=True)
class Shipped:
    """One thing that could be served: a model, with an adapter or with it merged in. way: adapter, merged."""

    way: str
    model: Path
    adapter: Path | None = None


def ship(run_dir: Path, folder: Path, gguf: Path, out: Path, runner: Runner) -> tuple[str, list[Shipped]]:
    """Everything ggship can make of the run on this base (its Hugging Face folder and its GGUF), and by which route.

    Raises Refused where it makes nothing.
    """
    run = read_run(run_dir)
    base = replace(base_from_gguf(gguf), config_dir=folder)
    return "pairs", _pairs(run, base, gguf, out, runner)


def refusal_codes(run_dir: Path, folder: Path, gguf: Path, out: Path, runner: Runner) -> tuple[str, ...]:
    """The codes with which ggship refuses the run. AssertionError where it does not, or with another exit code."""
    with pytest.raises(Refused) as refusal:
        ship(run_dir, folder, gguf, out, runner)
    assert refusal.value.exit_code == 4
    assert refusal.value.where, "a refusal names its reason"
    run = read_run(run_dir)
    codes = [obstacle.code for obstacle in obstacles(run)]
    if run.config.get("lora_alpha") == 0:
        codes.append("zero-alpha")
    return tuple(codes)


def _pairs(run: Run, base: Base, gguf: Path, out: Path, runner: Runner) -> list[Shipped]:
    adapter, merged = out / "adapter.gguf", out / "merged.gguf"
    convert_adapter(run, adapter, base=base, runner=runner)
    merge_adapter(gguf, adapter, merged, threads=1)
    return [Shipped("adapter", gguf, adapter), Shipped("merged", merged)]
