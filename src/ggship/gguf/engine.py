"""The merge itself: the base streamed in chunks of rows, each tensor changed, measured, written and read back.

Each update changes its own tensor (W + scale * B @ A for a LoRA pair), llama.cpp's type mix is for the others where a
quantization is asked for, the same bytes for the rest. Memory is a few chunks a core, and 24 bytes for each chunk that
is to be checked: 13 MB for 70 billion weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ggship.errors import AdapterUnusable, BadFile, BaseMismatch, LowSurvival, NotExpressible
from ggship.gguf.chunks import ZEROS, ChunkWorker, Measured
from ggship.gguf.merged import MergedTensor, MergeReport
from ggship.gguf.mix import parse_quant
from ggship.gguf.parts import Source
from ggship.gguf.plan import file_type, plan_merge
from ggship.gguf.pools import Pool, pool_of
from ggship.gguf.quantize import Kernels, require_writable
from ggship.gguf.reader import GgufFile, TensorInfo
from ggship.gguf.types import GgmlType
from ggship.gguf.updates.model import TensorUpdate
from ggship.gguf.values import GgufValue
from ggship.gguf.work import Job
from ggship.gguf.writer import GgufWriter, NewTensor, changed_metadata

LOWEST_SURVIVAL = 0.5
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_DIGITS = 6
_FLUSH_BYTES = 1 << 25
_BYTES_PER_WORKER = 1 << 22  # less work than this is done before a second worker has started

OnTensor = Callable[[int, int], None]


@dataclass(slots=True)
class _Tally:
    """What the items of one tensor have seen, added in their order."""

    kept: float = 0.0
    base: float = 0.0
    update: float = 0.0

    def add(self, seen: Measured) -> None:
        self.kept += seen.kept
        self.base += seen.base
        self.update += seen.update


class Merge:
    """One merge; `run` does it. Arguments, errors and laws: see gguf.merge.merge_updates."""

    def __init__(
        self,
        base: GgufFile,
        updates: Sequence[TensorUpdate],
        out: Path,
        quant: str | None,
        force: bool,
        kernels: Kernels,
    ) -> None:
        self.base = _with_new_tensors(base, updates)
        self.makers = {update.name: update.make for update in updates if update.make is not None}
        self.out = out
        self.quant = parse_quant(quant) if quant else None
        self.force = force
        self.kernels = kernels
        self.tallies: dict[str, _Tally] = {}

    def run(self, workers: int, metadata: Mapping[str, Any], on_tensor: OnTensor | None) -> MergeReport:
        """Write the file, or leave what was there as it was."""
        on_tensor = on_tensor or _ignore
        types = self._types()
        new = [NewTensor(tensor.name, tensor.shape, types[tensor.name]) for tensor in self.base.tensors]
        header = changed_metadata(self.base.metadata, self._metadata(types, metadata))
        with (
            Source(self.base) as source,
            GgufWriter(self.out, header, new, alignment=self.base.alignment) as writer,
        ):
            pairs = list(zip(self.base.tensors, writer.tensors, strict=True))
            job = Job(pairs, self.makers, ChunkWorker(source, writer, self.kernels))
            with pool_of(job, min(workers, 1 + writer.size // _BYTES_PER_WORKER)) as pool:
                self._work(job, pool, writer, on_tensor)
                report = self._report(types, writer.size)
                self._require_survival(report)
                pool.verify()
        return report

    def _types(self) -> dict[str, GgmlType]:
        """The type of each tensor of the merged file, all of them readable and writable here."""
        planned = plan_merge(self.base, self.makers, self.quant, self.force)
        types = {tensor.tensor: GgmlType[tensor.to_type] for tensor in planned}
        for tensor in self.base.tensors:
            if tensor.name in self.makers or types[tensor.name] is not tensor.type:
                require_writable(self.kernels, types[tensor.name])
                if not self.kernels.reads(tensor.type):
                    raise NotExpressible(f"{tensor.type_name} weights cannot be read here", where=tensor.name)
        return types

    def _metadata(self, types: Mapping[str, GgmlType], changes: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        number = file_type(self.base, types, self.quant)
        if number is not None:
            result["general.file_type"] = GgufValue.uint32(number)
        if any(kind.quantized for kind in types.values()):
            result["general.quantization_version"] = GgufValue.uint32(QUANTIZATION_VERSION)
        return {**result, **changes}

    def _work(self, job: Job, pool: Pool, writer: GgufWriter, on_tensor: OnTensor) -> None:
        """Do every tensor, in the order of the base."""
        results = zip(job.items, pool.results(len(job.items)), strict=True)
        total, ahead, unflushed = len(self.base.tensors), next(results, None), 0
        for number, tensor in enumerate(self.base.tensors):
            tally = self.tallies.setdefault(tensor.name, _Tally()) if tensor.name in self.makers else _Tally()
            while ahead is not None and ahead[0].tensor == number:
                tally.add(ahead[1])
                ahead = next(results, None)
            unflushed += writer.tensors[number].nbytes
            if unflushed >= _FLUSH_BYTES:
                writer.flush_behind()
                unflushed = 0
            on_tensor(number + 1, total)

    def _report(self, types: Mapping[str, GgmlType], size: int) -> MergeReport:
        if len(self.tallies) != len(self.makers):  # what was planned has made sure; the law is worth a second look
            raise BadFile(f"{len(self.makers)} updates, but {len(self.tallies)} tensors merged")
        tensors = tuple(
            MergedTensor(
                tensor.name,
                tensor.type_name,
                types[tensor.name].name,
                _ratio(tally.kept, tally.update, 1.0),
                _ratio(tally.update**0.5, tally.base**0.5, 0.0),
            )
            for tensor in self.base.tensors
            if (tally := self.tallies.get(tensor.name)) is not None
        )
        kept = sum(tally.kept for tally in self.tallies.values())
        update = sum(tally.update for tally in self.tallies.values())
        if not update and not self.force:
            raise untrained("no update changes anything")
        survival = _ratio(kept, update, 1.0)
        return MergeReport(len(self.makers), len(tensors), survival, tensors, size, self.quant or "")

    def _require_survival(self, report: MergeReport) -> None:
        if report.survival >= LOWEST_SURVIVAL or self.force:
            return
        worst = min(report.tensors, key=lambda tensor: tensor.survival)
        stored = ", ".join(sorted({tensor.to_type for tensor in report.tensors}))
        quantized = any(GgmlType[tensor.from_type].quantized for tensor in report.tensors)
        why = "its weights lie on the grid of their own quantization, where a small update rounds away; " * quantized
        raise LowSurvival(
            f"only {report.survival:.0%} of the trained update would survive as {stored}",
            where=(
                f"{self.base.path.name}: {why}worst {worst.name}, {worst.from_type} -> {worst.to_type}, "
                f"{worst.survival:.0%} left of an update of {worst.relative_update:.2%} of the weights"
            ),
            hint="merge into a 16-bit base (--base), or keep the touched tensors at 16 bits with --quant F16;"
            " --force writes it as it is",
        )


def _with_new_tensors(base: GgufFile, updates: Sequence[TensorUpdate]) -> GgufFile:
    """The base with those tensors that it lacks and gets, each lying where the weights are that it starts from.

    Raises BaseMismatch where an update has no tensor in the base, or one of another shape.
    """
    there = {tensor.name: tensor for tensor in base.tensors}
    new = []
    for update in updates:
        found = there.get(update.name if update.source is None else update.source)
        if update.source == "":
            elements = TensorInfo(update.name, update.shape, GgmlType.F32, 0, 0).elements
            new.append(TensorInfo(update.name, update.shape, GgmlType.F32, ZEROS, 4 * elements))
        elif found is None or found.shape != update.shape or (update.source is not None and update.name in there):
            raise BaseMismatch(
                "an update does not fit the base",
                where=f"{update.name}: {list(update.shape)}, base {list(found.shape) if found else 'without it'}",
                hint="pass the base that training named with --base; `ggship inspect RUN` shows it",
            )
        elif update.source is not None:
            new.append(replace(found, name=update.name))
    return replace(base, tensors=(*base.tensors, *new))


def untrained(why: str) -> AdapterUnusable:
    """The error of a merge that would change nothing."""
    return AdapterUnusable(
        "the adapter is untrained: the result would be the base",
        where=why,
        hint="check that training ran and that this is its output; --force merges it anyway",
    )


def _ratio(part: float, whole: float, empty: float) -> float:
    """Rounded, so that the last bits of a sum, which a CPU may do in its own order, are not in any report."""
    return round(part / whole, _DIGITS) if whole else empty


def _ignore(*_: Any) -> None:
    return None
