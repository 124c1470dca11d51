"""Merge what training gave into a base GGUF, quantizing in the same pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ggship.cores import cores
from ggship.errors import BadFile, UsageError
from ggship.gguf.adapter import adapter_updates, check_fit, read_adapter, trained
from ggship.gguf.engine import LOWEST_SURVIVAL, Merge, OnTensor, untrained
from ggship.gguf.merged import MergedTensor, MergeReport
from ggship.gguf.parts import parts_of, read_model
from ggship.gguf.quantize import Kernels, best_kernels
from ggship.gguf.reader import GgufFile
from ggship.gguf.updates.model import TensorUpdate

__all__ = ["LOWEST_SURVIVAL", "MergeReport", "MergedTensor", "merge_adapter", "merge_updates"]


def merge_adapter(
    base: Path,
    adapter: Path,
    out: Path,
    *,
    quant: str | None = None,
    force: bool = False,
    threads: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_tensor: OnTensor | None = None,
    kernels: Kernels | None = None,
) -> MergeReport:
    """Write base + adapter to `out`. The types are those of `plan_merge`.

    metadata: keys to set or, where None, to remove. on_tensor(done, of) is called after each tensor. threads: how
    many workers, processes on Linux; default one a core. kernels: default libgguf. force: go on with an untrained
    adapter, low survival, a requantized base.

    Raises BadFile, BaseMismatch, AdapterUnusable, LowSurvival, NotExpressible, UsageError, Busy, OSError; then `out` is
    as it was before. Laws: equal inputs give equal bytes, whatever the threads, the BLAS and the CPU's number of cores;
    tensors without a pair keep their bytes unless `quant` changes their type; merged == pairs.
    """
    read, file = _read_base(Path(base)), read_adapter(Path(adapter))
    _refuse_overwriting(Path(out), (*parts_of(read), Path(adapter)))
    check_fit(file, read)
    if not trained(file) and not force:
        raise untrained(f"A or B of every pair is zero: {adapter}")
    with adapter_updates(file) as updates:
        merge = Merge(read, updates, Path(out), quant, force, kernels or best_kernels())
        return merge.run(threads or cores(), metadata or {}, on_tensor)


def merge_updates(
    base: Path,
    updates: Sequence[TensorUpdate],
    out: Path,
    *,
    quant: str | None = None,
    force: bool = False,
    threads: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_tensor: OnTensor | None = None,
    kernels: Kernels | None = None,
) -> MergeReport:
    """Write the base, changed by any set of updates, to `out`; arguments, errors and laws as of `merge_adapter`.

    Tensors that the base lacks come after its own. `pairs` in the report counts the updates, copies not among them.
    """
    read = _read_base(Path(base))
    _refuse_overwriting(Path(out), parts_of(read))
    merge = Merge(read, updates, Path(out), quant, force, kernels or best_kernels())
    return merge.run(threads or cores(), metadata or {}, on_tensor)


def _refuse_overwriting(out: Path, sources: Sequence[Path]) -> None:
    for source in sources:
        if out.exists() and out.samefile(source):
            raise UsageError("the merged file would overwrite its own source", where=str(out))


def _read_base(path: Path) -> GgufFile:
    base = read_model(path)
    if base.get("general.type", "model") == "adapter" or not base.tensors:
        raise BadFile("this GGUF file is no base model", where=str(path), hint="pass a model's GGUF with --base")
    return base
