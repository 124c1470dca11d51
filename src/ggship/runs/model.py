"""What a training run is, once read: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor of a safetensors file, as its header says; no data has been read.

    dtype is the safetensors name (F32, BF16, ...); offset and nbytes are in bytes from the start of `file`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class LoraModule:
    """One module that LoRA was put on: delta W = scale * B @ A.

    name is the module's path in the base (`model.layers.0.self_attn.q_proj`), without PEFT's prefix.
    a: [rank, in_features], b: [out_features, rank]. alpha and scale are the true ones of this module, with patterns
    and rsLoRA applied: scale = alpha / rank, or alpha / sqrt(rank) with use_rslora (PEFT: tuners/lora/layer.py).
    rank is that of the tensors; rank_named is what the config says of this module, None where it says nothing.
    Of an embedding (`embedding`), a is [rank, vocabulary], b is [width, rank], and delta W = scale * (B @ A).T.
    """

    name: str
    a: TensorHeader
    b: TensorHeader
    rank: int
    alpha: float
    scale: float
    rank_named: int | None = None

    @property
    def embedding(self) -> bool:
        """Whether the pair updates an embedding: its delta is transposed."""
        return ".lora_embedding_A" in self.a.name

    @property
    def base_shape(self) -> tuple[int, int]:
        """The shape that the base's weight must have: [out_features, in_features], or [vocabulary, width]."""
        out, width = self.b.shape[0], self.a.shape[1]
        return (width, out) if self.embedding else (out, width)

    @property
    def parameters(self) -> int:
        """Trained numbers in A and B together."""
        return _product(self.a.shape) + _product(self.b.shape)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state of training. `loss` is the last training loss at or before `step`, `eval_loss` the one at it."""

    path: Path
    step: int
    loss: float | None = None
    eval_loss: float | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class Trainer:
    """The program that trained, with what gave it away."""

    name: str
    evidence: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A directory that training left, read from headers alone.

    root: what the user pointed at (or the run above a named checkpoint); path: the directory whose adapter is used,
    the root itself or one of `checkpoints`; chosen: why that one, in words.
    config: adapter_config.json as it lies there. unexpressed: names of tensors that are no plain LoRA pair.
    chat_template: the Jinja text saved with the run, None where there is none; its file is chat_template_source.
    tokenizer_dir: the directory that tokenizer_files lie in, the root or `path`; None where there are none.
    notes: what a user should know of this run, each in a sentence; none of it stops anything.
    """

    root: Path
    path: Path
    chosen: str
    config: Mapping[str, Any]
    tensors: Mapping[str, TensorHeader]
    modules: tuple[LoraModule, ...]
    unexpressed: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    trainer: Trainer | None
    tokenizer_files: tuple[str, ...]
    chat_template: str | None
    chat_template_source: str
    base_named: str
    base_revision: str
    tokenizer_dir: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Trained numbers of all modules."""
        return sum(module.parameters for module in self.modules)

    @property
    def tensor_files(self) -> tuple[Path, ...]:
        """The files that hold the adapter's tensors, each once."""
        return tuple(dict.fromkeys(header.file for header in self.tensors.values()))


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
