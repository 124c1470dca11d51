"""The whole of `ggship verify --reference`: find the materials, measure, write it into the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ggship.evals.load import load_suite
from ggship.evals.reference import Reference
from ggship.evals.smoke import smoke_suite
from ggship.package import PackageInfo
from ggship.progress import Progress
from ggship.reference.materials import find_materials
from ggship.reference.measure import Extent, measure
from ggship.reference.record import record


@dataclass(frozen=True, slots=True)
class Proof:
    """What was measured, and whether it stands in the package's report (one that was never evaluated has none)."""

    found: Reference
    recorded: bool


def prove(
    info: PackageInfo,
    *,
    run: Path | None = None,
    base: str | None = None,
    host: str | None = None,
    suite: Path | None = None,
    allow_pickle: bool = False,
    extent: Extent,
    at_least: float | None = None,
    progress: Progress,
) -> Proof:
    """Hold the package against base + adapter over the prompts of its suite, and write that into eval/.

    suite: other prompts than those. Other arguments and errors are those of `find_materials` and `measure`. What does
    not hold is in the figures, no error.
    """
    from ggship.convert.peft import need_peft

    need_peft("the reference")
    materials = find_materials(info, run=run, base=base, host=host, allow_pickle=allow_pickle, progress=progress)
    packed = suite or info.file("eval/suite.yaml")
    prompts = load_suite(packed) if packed else smoke_suite()
    found = measure(info, materials, prompts, extent=extent, progress=progress, at_least=at_least)
    return Proof(found, record(info, materials.run, found) is not None)
