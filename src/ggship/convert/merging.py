"""Merge what no adapter GGUF can carry: in the base's GGUF where ggship can, by PEFT where it must."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.bases.model import Base
from ggship.convert.routes import Route
from ggship.errors import BaseNotFound
from ggship.runner import Runner, run_subprocess
from ggship.runs.model import Run

if TYPE_CHECKING:
    from ggship.gguf.merge import MergeReport


@dataclass(frozen=True, slots=True)
class RunMerge:
    """A run that was merged. by: "ggship", or PEFT with its version and those of what it stands on."""

    report: MergeReport
    by: str


def merge_run(
    run: Run,
    base: Base,
    out: Path,
    *,
    route: Route,
    quant: str | None = None,
    force: bool = False,
    metadata: Mapping[str, Any] | None = None,
    log: Path | None = None,
    runner: Runner = run_subprocess,
    threads: int | None = None,
    on_tensor: Callable[[int, int], None] | None = None,
) -> RunMerge:
    """Write base + everything that the run trained to `out`, quantized in the same pass.

    base: with its weights in a GGUF file. route: of kind "updates" or "peft". log: where PEFT's output is kept if it
    fails, `out`.log by default. Other arguments, errors and laws are those of gguf.merge.merge_adapter; PEFT raises
    MissingExtra, ToolFailed and NotExpressible too.
    """
    from ggship.gguf.merge import merge_updates

    if base.gguf is None:
        raise BaseNotFound("the base's weights are not on this machine", where=base.ref, hint="pass a GGUF with --base")

    def merged(updates: Any) -> MergeReport:
        return merge_updates(
            base.gguf,  # type: ignore[arg-type]
            updates,
            out,
            quant=quant,
            force=force,
            threads=threads,
            metadata=metadata,
            on_tensor=on_tensor,
        )

    if route.kind == "peft":
        return _by_peft(run, base, out, log or out.with_name(f"{out.name}.log"), runner, merged)
    from ggship.convert.blended import blended_updates
    from ggship.convert.sources import adapter_tensors
    from ggship.convert.updates import tensor_updates

    with adapter_tensors() as tensors:
        updates = blended_updates if run.shares else tensor_updates
        return RunMerge(merged(updates(run, _with_tensors(base), tensors)), "ggship")


def _by_peft(
    run: Run, base: Base, out: Path, log: Path, runner: Runner, merged: Callable[[Any], MergeReport]
) -> RunMerge:
    from ggship.bases.from_directory import weight_files
    from ggship.convert.peft import merge_with_peft, merged_to_gguf
    from ggship.gguf.parts import read_model
    from ggship.gguf.quantize import best_kernels
    from ggship.gguf.updates.between import updates_between

    assert base.gguf is not None
    folder = base.config_dir
    weights = folder if folder is not None and weight_files(folder) else base.gguf
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        done = merge_with_peft(run, weights, Path(scratch) / "merged", runner=runner, log=log)
        file = merged_to_gguf(done, Path(scratch) / "merged.gguf", runner=runner, log=log)
        with updates_between(read_model(base.gguf), read_model(file), best_kernels()) as updates:
            report = merged(updates)
    log.unlink(missing_ok=True)
    return RunMerge(report, ", ".join(f"{name} {version}" for name, version in done.versions.items()))


def _with_tensors(base: Base) -> Base:
    """The base with what its GGUF says of its tensors: one found by its config.json alone may not know them yet."""
    if base.tensors:
        return base
    from ggship.bases.from_gguf import base_from_gguf

    assert base.gguf is not None
    read = base_from_gguf(base.gguf)
    return replace(base, tensors=read.tensors, metadata=read.metadata, architecture=read.architecture)
