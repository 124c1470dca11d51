"""Read a LoRA adapter in GGUF: its pairs, checked one by one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ggship.errors import AdapterUnusable, BadFile, BaseMismatch, NotExpressible
from ggship.gguf.lowrank import LowRank
from ggship.gguf.quantize import read_plain
from ggship.gguf.reader import GgufFile, TensorInfo, read_gguf
from ggship.gguf.types import GgmlType
from ggship.gguf.updates.model import TensorUpdate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALVES = {".lora_a": "a", ".lora_b": "b"}
_FLOATS = (GgmlType.F32, GgmlType.F16, GgmlType.BF16)


@dataclass(frozen=True, slots=True)
class AdapterPair:
    """One low-rank update in an adapter file: where its halves lie. name is the base tensor's (blk.0.attn_q.weight).

    a: [..., r, in_features] and b: [..., out_features, r]; for token embeddings a is [vocabulary, r] and b is
    [embedding, r], as llama.cpp has them (llama-adapter.cpp). scale = alpha / r, or 1 where the file has no alpha.
    """

    name: str
    a: TensorInfo
    b: TensorInfo
    scale: float
    flipped: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the base tensor must have."""
        if self.flipped:
            return (self.a.rows, self.b.rows)
        return (*self.b.shape[:-1], self.a.columns)


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A LoRA adapter in GGUF: its header and its pairs by base tensor."""

    file: GgufFile
    pairs: Mapping[str, AdapterPair]

    def update(self, pair: AdapterPair, source: int, matrix: int = 0) -> LowRank:
        """The update of one matrix, read from the open file `source`. matrix: which one of stacked experts.

        Raises AdapterUnusable for NaN or Inf.
        """
        a, b = _read(self.file.path, source, pair.a, matrix), _read(self.file.path, source, pair.b, matrix)
        if pair.flipped:
            a, b = np.ascontiguousarray(b.T), a
        return LowRank(b * pair.scale, a)


@contextmanager
def adapter_updates(adapter: AdapterFile) -> Iterator[tuple[TensorUpdate, ...]]:
    """The adapter's pairs as updates of the base's tensors, read as they are asked for while the context lasts."""
    with adapter.file.path.open("rb") as file:
        yield tuple(
            TensorUpdate(pair.name, pair.shape, partial(adapter.update, pair, file.fileno()))
            for pair in adapter.pairs.values()
        )


def read_adapter(path: Path) -> AdapterFile:
    """Read an adapter's header and pair up its tensors.

    Raises BadFile where the file is no LoRA adapter, or its alpha is no number; AdapterUnusable for a quantized tensor,
    a missing half or a tensor that is neither half; NotExpressible for an activated LoRA (which has no merged form).
    """
    file = read_gguf(path)
    kind, form = file.get("general.type", ""), file.get("adapter.type", "")
    if kind != "adapter" or form != "lora":
        raise BadFile(
            "this GGUF file is no LoRA adapter",
            where=f"{path}: general.type is {kind or 'not set'}, adapter.type is {form or 'not set'}",
            hint="make one with `ggship convert RUN --out adapter.gguf`",
        )
    if "adapter.alora.invocation_tokens" in file.metadata:
        raise NotExpressible(
            "an activated LoRA works only after its invocation tokens, so it cannot be merged",
            where=str(path),
            hint="serve it as an adapter with llama-server",
        )
    alpha = _alpha(file)
    pairs = {name: _pair(path, name, halves, alpha) for name, halves in _halves(file).items()}
    if not pairs:
        raise AdapterUnusable("the adapter holds no LoRA pair", where=str(path))
    return AdapterFile(file, pairs)


def check_fit(adapter: AdapterFile, base: GgufFile) -> None:
    """Every pair has its tensor in the base, with the right shape: BaseMismatch otherwise, naming the tensor."""
    hint = "pass the base that training named with --base; `ggship inspect RUN` shows it"
    if adapter.file.architecture != base.architecture:
        raise BaseMismatch(
            "the adapter is for another architecture than the base",
            where=f"adapter: {adapter.file.architecture or 'unknown'}, base: {base.architecture or 'unknown'}",
            hint=hint,
        )
    tensors = {tensor.name: tensor for tensor in base.tensors}
    for pair in adapter.pairs.values():
        tensor = tensors.get(pair.name)
        if tensor is None:
            raise BaseMismatch("the base has no tensor for a pair of the adapter", where=pair.name, hint=hint)
        if tensor.shape != pair.shape:
            raise BaseMismatch(
                "the adapter was trained on another base",
                where=f"{pair.name}: adapter {list(pair.shape)}, base {list(tensor.shape)}",
                hint=hint,
            )


def trained(adapter: AdapterFile) -> bool:
    """Whether any pair changes its tensor: neither half is all zero. Reads the whole adapter once.

    Raises AdapterUnusable for NaN or Inf anywhere.
    """
    found = False
    path = adapter.file.path
    with path.open("rb") as file:
        source = file.fileno()
        for pair in adapter.pairs.values():
            for matrix in range(pair.a.rows // _matrix_rows(pair.a)):
                a, b = _read(path, source, pair.a, matrix), _read(path, source, pair.b, matrix)
                found |= bool(a.any() and b.any())
    return found


def _alpha(file: GgufFile) -> float:
    """adapter.lora.alpha; 0 where the file has none."""
    alpha = file.get("adapter.lora.alpha", 0.0)
    if isinstance(alpha, (int, float)) and not isinstance(alpha, bool) and math.isfinite(alpha):
        return float(alpha)
    raise BadFile(
        "the adapter's alpha is no number",
        where=f"{file.path}: adapter.lora.alpha is {str(alpha)[:40]!r}",
        hint="convert it again with `ggship convert RUN --out adapter.gguf`",
    )


def _halves(file: GgufFile) -> dict[str, dict[str, TensorInfo]]:
    found: dict[str, dict[str, TensorInfo]] = {}
    for tensor in file.tensors:
        name, dot, suffix = tensor.name.rpartition(".")
        half = _HALVES.get(dot + suffix)
        if half is None:
            raise AdapterUnusable(
                "the adapter holds a tensor that is no half of a LoRA pair", where=f"{file.path}: {tensor.name}"
            )
        if tensor.type not in _FLOATS:
            raise AdapterUnusable(
                "a quantized adapter cannot be merged",
                where=f"{file.path}: {tensor.name} is {tensor.type_name}",
                hint="convert it again with --outtype f16 or f32",
            )
        found.setdefault(name, {})[half] = tensor
    return found


def _pair(path: Path, name: str, halves: Mapping[str, TensorInfo], alpha: float) -> AdapterPair:
    missing = [suffix for suffix, half in _HALVES.items() if half not in halves]
    if missing:
        raise AdapterUnusable("a LoRA pair has lost one half", where=f"{path}: {name}{missing[0]} is missing")
    a, b = halves["a"], halves["b"]
    flipped = name.startswith("token_embd")
    rank = b.columns
    inner = a.columns if flipped else (a.shape[-2] if len(a.shape) > 1 else 0)
    if inner != rank or not rank or a.shape[:-2] != b.shape[:-2]:
        raise AdapterUnusable(
            "the halves of a LoRA pair do not fit together",
            where=f"{path}: {name}: A {list(a.shape)}, B {list(b.shape)}",
        )
    return AdapterPair(name, a, b, alpha / rank if alpha else 1.0, flipped)


def _matrix_rows(tensor: TensorInfo) -> int:
    return tensor.shape[-2] if len(tensor.shape) > 1 else 1


def _read(path: Path, source: int, tensor: TensorInfo, matrix: int) -> NDArray[np.float64]:
    rows = _matrix_rows(tensor)
    nbytes = tensor.type.row_bytes(rows * tensor.columns)
    data = os.pread(source, nbytes, tensor.offset + matrix * nbytes)
    if len(data) != nbytes:
        raise BadFile("the adapter became shorter while it was read", where=f"{path}: {tensor.name}")
    values = np.empty((rows, tensor.columns), np.float32)
    read_plain(tensor.type, np.frombuffer(data, np.uint8).reshape(rows, -1), values)
    if not np.isfinite(values).all():
        raise AdapterUnusable(
            "the adapter holds NaN or Inf: its training went wrong",
            where=f"{path}: {tensor.name}",
            hint="use an earlier checkpoint; `ggship inspect RUN` lists them",
        )
    return values.astype(np.float64)
