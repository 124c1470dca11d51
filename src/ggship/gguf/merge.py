"""Merge a LoRA adapter into a base GGUF, quantizing in the same pass.

Streams the base in chunks of rows: W + scale * B @ A for tensors of a pair, llama.cpp's type mix for the others where a
quantization is asked for, the same bytes for the rest. Memory is a few chunks a core, and 24 bytes for each chunk that
is to be checked: 13 MB for 70 billion weights.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.cores import cores
from ggship.errors import AdapterUnusable, BadFile, LowSurvival, NotExpressible, UsageError
from ggship.gguf.adapter import check_fit, read_adapter, trained
from ggship.gguf.chunks import COPY_BYTES, Chunk, ChunkWorker, Measured, chunks_of
from ggship.gguf.mix import parse_quant
from ggship.gguf.plan import file_type, plan_merge
from ggship.gguf.quantize import Kernels, best_kernels, require_writable
from ggship.gguf.reader import GgufFile, read_gguf
from ggship.gguf.types import GgmlType
from ggship.gguf.values import GgufValue
from ggship.gguf.writer import GgufWriter, NewTensor, changed_metadata

LOWEST_SURVIVAL = 0.5
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_WAITING_PER_THREAD = 4
_DIGITS = 6

OnTensor = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """One tensor that the adapter changed, W -> Q(W + D); W is the base's weight, dequantized.

    survival: <Q(W + D) - W, D> / <D, D>, 1 where all of the update is left (and where D is zero).
    relative_update: |D| / |W|, Frobenius norms. Types are ggml's names.
    """

    name: str
    from_type: str
    to_type: str
    survival: float
    relative_update: float


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did. pairs: in the adapter; merged: tensors changed, always as many; bytes: size of the file.

    survival: of all tensors together, the sum of the projections over the sum of |D|**2.
    quant: the quantization asked for, "" where none was.
    """

    pairs: int
    merged: int
    survival: float
    tensors: tuple[MergedTensor, ...]
    bytes: int
    quant: str


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

    metadata: keys to set or, where None, to remove. on_tensor(done, of) is called after each tensor. threads: default
    one a core. kernels: default libgguf. force: go on with an untrained adapter, low survival, a requantized base.

    Raises BadFile, BaseMismatch, AdapterUnusable, LowSurvival, NotExpressible, UsageError, Busy, OSError; then `out` is
    as it was before. Laws: equal inputs give equal bytes, whatever the threads, the BLAS and the CPU's number of cores;
    tensors without a pair keep their bytes unless `quant` changes their type; merged == pairs.
    """
    return _Merge(Path(base), Path(adapter), Path(out), quant, force, kernels or best_kernels()).run(
        threads or cores(), metadata or {}, on_tensor or _ignore
    )


@dataclass(slots=True)
class _Tally:
    """What the chunks of one tensor have seen, in their order."""

    kept: float = 0.0
    base: float = 0.0
    update: float = 0.0

    def add(self, seen: Measured) -> None:
        self.kept += seen.kept
        self.base += seen.base


class _Merge:
    def __init__(self, base: Path, adapter: Path, out: Path, quant: str | None, force: bool, kernels: Kernels) -> None:
        self.base = _read_base(base)
        self.adapter = read_adapter(adapter)
        self.out = out
        self.quant = parse_quant(quant) if quant else None
        self.force = force
        self.kernels = kernels
        self.tallies: dict[str, _Tally] = {}
        for source in (base, adapter):
            if out.exists() and out.samefile(source):
                raise UsageError("the merged file would overwrite its own source", where=str(out))

    def run(self, threads: int, metadata: Mapping[str, Any], on_tensor: OnTensor) -> MergeReport:
        check_fit(self.adapter, self.base)
        if not trained(self.adapter) and not self.force:
            raise AdapterUnusable(
                "the adapter is untrained: A or B of every pair is zero, the result would be the base",
                where=str(self.adapter.file.path),
                hint="check that training ran and that this is its output; --force merges it anyway",
            )
        types = self._types()
        new = [NewTensor(tensor.name, tensor.shape, types[tensor.name]) for tensor in self.base.tensors]
        header = changed_metadata(self.base.metadata, self._metadata(types, metadata))
        with (
            self.base.path.open("rb") as source,
            self.adapter.file.path.open("rb") as pairs,
            GgufWriter(self.out, header, new, alignment=self.base.alignment) as writer,
            ThreadPoolExecutor(threads, thread_name_prefix="ggship-merge") as pool,
        ):
            worker = ChunkWorker(source.fileno(), writer, self.kernels)
            queue = _Queue(pool, threads * _WAITING_PER_THREAD)
            try:
                checks = self._work(worker, writer, queue, pairs.fileno(), on_tensor)
                report = self._report(types, writer.size)
                self._require_survival(report)
                checks.put(queue, worker)
                queue.drain()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return report

    def _types(self) -> dict[str, GgmlType]:
        """The type of each tensor of the merged file, all of them readable and writable here."""
        planned = plan_merge(self.base, self.adapter.pairs, self.quant, self.force)
        types = {tensor.tensor: GgmlType[tensor.to_type] for tensor in planned}
        for tensor in self.base.tensors:
            if tensor.name in self.adapter.pairs or types[tensor.name] is not tensor.type:
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

    def _work(self, worker: ChunkWorker, writer: GgufWriter, queue: _Queue, pairs: int, on_tensor: OnTensor) -> _Checks:
        """Do every tensor, in the order of the base; returns what is to be checked when all is written."""
        checks = _Checks()
        total = len(self.base.tensors)
        for number, (tensor, target) in enumerate(zip(self.base.tensors, writer.tensors, strict=True)):
            pair = self.adapter.pairs.get(tensor.name)
            if pair is None and target.type is tensor.type:
                for start, count in _slabs(tensor.nbytes):
                    span = (tensor.offset + start, target.offset + start, count)
                    queue.put(_bind(worker.copy, *span))
                    checks.copied.extend(span)
            else:
                tally = self.tallies.setdefault(tensor.name, _Tally()) if pair else _Tally()
                update, matrix = None, -1
                for chunk in chunks_of(tensor, target):
                    if pair and chunk.matrix != matrix:
                        matrix = chunk.matrix
                        update = self.adapter.update(pair, pairs, matrix)
                        tally.update += update.squared_norm()
                    queue.put(_bind(worker.change, chunk, update), _taker(tally, chunk, checks))
            queue.put(_ignore, _caller(on_tensor, number + 1, total))
        queue.drain()
        return checks

    def _report(self, types: Mapping[str, GgmlType], size: int) -> MergeReport:
        if len(self.tallies) != len(self.adapter.pairs):  # check_fit has made sure; the law is worth a second look
            raise BadFile(f"{len(self.adapter.pairs)} pairs, but {len(self.tallies)} tensors merged")
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
        survival = _ratio(kept, update, 1.0)
        return MergeReport(len(self.adapter.pairs), len(tensors), survival, tensors, size, self.quant or "")

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


class _Checks:
    """What is read back at the end, three numbers each: (offset, count, checksum), (source, target, count)."""

    def __init__(self) -> None:
        self.written = array("Q")
        self.copied = array("Q")

    def put(self, queue: _Queue, worker: ChunkWorker) -> None:
        for numbers, check in ((self.written, worker.check), (self.copied, worker.check_copy)):
            for at in range(0, len(numbers), 3):
                queue.put(_bind(check, *numbers[at : at + 3]))


class _Queue:
    """Runs work in a pool, so much of it ahead, and takes the results in the order they were put."""

    def __init__(self, pool: ThreadPoolExecutor, ahead: int) -> None:
        self._pool = pool
        self._ahead = ahead
        self._waiting: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()

    def put(self, work: Callable[[], Any], take: Callable[[Any], None] | None = None) -> None:
        while len(self._waiting) >= self._ahead:
            self._take()
        self._waiting.append((self._pool.submit(work), take or _ignore))

    def drain(self) -> None:
        while self._waiting:
            self._take()

    def _take(self) -> None:
        future, take = self._waiting.popleft()
        take(future.result())


def _read_base(path: Path) -> GgufFile:
    base = read_gguf(path)
    parts = base.get("split.count", 0)
    if not isinstance(parts, int) or parts > 1:
        raise BadFile(
            "the base is one part of a split model",
            where=str(path),
            hint="join the parts with `llama-gguf-split --merge FIRST_PART OUT`",
        )
    if base.get("general.type", "model") == "adapter" or not base.tensors:
        raise BadFile("this GGUF file is no base model", where=str(path), hint="pass a model's GGUF with --base")
    return base


def _slabs(nbytes: int) -> Iterator[tuple[int, int]]:
    for start in range(0, nbytes, COPY_BYTES):
        yield start, min(COPY_BYTES, nbytes - start)


def _bind(call: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: call(*arguments)


def _taker(tally: _Tally, chunk: Chunk, checks: _Checks) -> Callable[[Measured], None]:
    def take(seen: Measured) -> None:
        tally.add(seen)
        checks.written.extend((chunk.target_offset, chunk.nbytes, seen.checksum))

    return take


def _caller(on_tensor: OnTensor, done: int, total: int) -> Callable[[Any], None]:
    return lambda _: on_tensor(done, total)


def _ratio(part: float, whole: float, empty: float) -> float:
    """Rounded, so that the last bits of a sum, which a CPU may do in its own order, are not in any report."""
    return round(part / whole, _DIGITS) if whole else empty


def _ignore(*_: Any) -> None:
    return None
