"""What a training run is, once read: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ggship.runs.training import Confidence, Training

Point = tuple[int, "float | None", "float | None"]
"""(step, loss, evaluation loss) as the trainer logged them; None where it logged none at that step."""


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor of a safetensors file, as its header says; no data has been read.

    dtype is the safetensors name (F32, BF16, ...); offset and nbytes are in bytes from the start of `file`.
    transposed: the file holds the transpose of a matrix of this `shape` (mlx-lm keeps A and B so).
    pieces: of a blend (runs/blend.py) the tensors that this one is made of, each with what it is multiplied by, put
    one after the other along `axis`; `file` and `offset` are then the first one's.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int
    transposed: bool = False
    pieces: tuple[tuple[TensorHeader, float], ...] = ()
    axis: int = 0


@dataclass(frozen=True, slots=True)
class LoraModule:
    """One module that LoRA was put on: delta W = scale * B @ A.

    name is the module's path in the base (`model.layers.0.self_attn.q_proj`), without PEFT's prefix.
    a: [rank, in_features], b: [out_features, rank]. alpha and scale are the true ones of this module, with patterns
    and rsLoRA applied: scale = alpha / rank, or alpha / sqrt(rank) with use_rslora (PEFT: tuners/lora/layer.py).
    rank is that of the tensors; rank_named is what the config says of this module, None where it says nothing.
    Of an embedding (`embedding`), a is [rank, vocabulary], b is [width, rank], and delta W = scale * (B @ A).T: the
    delta is transposed.
    """

    name: str
    a: TensorHeader
    b: TensorHeader
    rank: int
    alpha: float
    scale: float
    rank_named: int | None = None
    embedding: bool = False

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
class TrainedModule:
    """What training gave to one module of the base, by a method that is no plain LoRA pair.

    name: the module's path in the base, without PEFT's prefix; of experts, that of the parameter
    (`model.layers.0.mlp.experts.gate_up_proj`). parts: tensors, by PEFT's names for them. scale: what the update is
    multiplied by, 1.0 where the method has none. rank: of one expert's pair, 0 for other methods.

    method, and its parts (PEFT's source: tuners/<method>/layer.py):
      dora     lora_magnitude_vector [out], or [width] of an embedding; its pair is in Run.modules
      bias     lora_bias [out]: the bias of lora_B, scaled like its pair
      saved    weight, bias: the trained ones, whole (modules_to_save, bias="all", LN tuning)
      tokens   trainable_tokens_delta [k, width]: rows of the embedding that replace those of `token_indices`
      experts  lora_A [rank experts, in], lora_B [out, rank experts] of a stack of experts (target_parameters)
      adalora  lora_A [r, in], lora_E [r, 1], lora_B [out, r]
      loha     hada_w1_a, hada_w2_a [out, r], hada_w1_b, hada_w2_b [r, in]
      lokr     lokr_w1 or lokr_w1_a and lokr_w1_b; lokr_w2 or lokr_w2_a and lokr_w2_b
      ia3      ia3_l [out, 1], or [1, in] of a feed-forward module
      vera     vera_lambda_b [out], vera_lambda_d [r]; vera_A [r, in or more], vera_B [out or more, r] where saved
      oft      oft_R [blocks, k (k - 1) / 2]
      frozen   weight: a copy of the base's, not trained
    """

    name: str
    method: str
    parts: Mapping[str, TensorHeader]
    scale: float = 1.0
    rank: int = 0

    @property
    def base_shape(self) -> tuple[int, ...]:
        """The shape that the base's weight must have, as far as the tensors tell: 0 where they do not, () for nothing.

        [out_features, in_features], or one number for a vector; of fused experts without the number of experts.
        """
        shapes = {name: part.shape for name, part in self.parts.items()}
        if self.method in ("saved", "frozen"):
            return shapes.get("weight", ())
        if self.method == "tokens":
            return (0, shapes["trainable_tokens_delta"][-1])
        if self.method in ("experts", "adalora"):
            return (shapes["lora_B"][0], shapes["lora_A"][1])
        if self.method == "loha":
            return (shapes["hada_w1_a"][0], shapes["hada_w1_b"][1])
        if self.method == "lokr":
            (a, b), (c, d) = _product_shape(shapes, "lokr_w1"), _product_shape(shapes, "lokr_w2")
            return (a * c, b * d)
        if self.method == "ia3":
            scales = shapes["ia3_l"]
            return (0, scales[-1]) if scales[0] == 1 else (scales[0], 0)
        return (shapes["vera_lambda_b"][0], 0) if self.method == "vera" else ()

    @property
    def parameters(self) -> int:
        """Trained numbers; VeRA's shared projections and frozen copies are none."""
        if self.method == "frozen":
            return 0
        return sum(_product(part.shape) for name, part in self.parts.items() if name not in ("vera_A", "vera_B"))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state of training. `loss` is the last training loss at or before `step`, `eval_loss` the one at it."""

    path: Path
    step: int
    loss: float | None = None
    eval_loss: float | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class Logged:
    """What training logged at one step: loss, eval_loss, learning_rate and all else, by the trainer's own names."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class History:
    """How training went, as it logged itself.

    points: by step. best: name of the checkpoint that training held to be best, or "". keys: of all logged rows.
    ended: the step at which training ended, as the top of the run tells; None where it does not.
    damage: why the history cannot be read, "" where it can.
    curve: all that was logged, by step. source: the file that it was read from, below the run. state: the numbers that
    the file says of training as a whole.
    """

    points: tuple[Point, ...] = ()
    best: str = ""
    keys: frozenset[str] = field(default_factory=frozenset)
    ended: int | None = None
    damage: str = ""
    curve: tuple[Logged, ...] = ()
    source: str = ""
    state: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trainer:
    """The program that trained, with what gave it away.

    marks: what speaks for it, each in words. against: what speaks for another program, which it names.
    confidence: high where only that program leaves such a mark.
    """

    name: str
    marks: tuple[str, ...]
    version: str = ""
    confidence: Confidence = "high"
    against: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """What speaks for it, and what against it, in one line."""
        but = f"; but {', '.join(self.against)}" if self.against else ""
        return "; ".join(self.marks) + but


@dataclass(frozen=True, slots=True)
class Run:
    """A directory that training left, read from headers alone.

    root: what the user pointed at (or the run above a named checkpoint); path: the directory whose adapter is used,
    the root itself or one of `checkpoints`; chosen: why that one, in words.
    config: adapter_config.json as it lies there; of mlx-lm, with the same said in PEFT's fields as well.
    modules: the plain LoRA pairs (of DoRA too). trained: what other methods gave. unexpressed: names of all other
    tensors, which nothing here understands.
    chat_template: the Jinja text saved with the run, None where there is none; its file is chat_template_source.
    tokenizer_dir: the directory that tokenizer_files lie in, the root or `path`; None where there are none.
    training: what the trainer wrote down of it: settings, and how prompts were made (`training.template`).
    history: how training went. pickled: name of the file of pickled weights that the tensors were taken from, or "".
    shares: of a blend (runs/blend.py) the runs that it is made of; all else then says what they come to together.
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
    trained: tuple[TrainedModule, ...] = ()
    training: Training = field(default_factory=Training)
    history: History = field(default_factory=History)
    pickled: str = ""
    shares: tuple[Share, ...] = ()

    @property
    def label(self) -> str:
        """The run's name for people, without folders of this machine: law-lora, or law-lora/checkpoint-300."""
        name = self.root.resolve().name
        return name if self.path == self.root else f"{name}/{self.path.name}"

    @property
    def parameters(self) -> int:
        """Trained numbers of all modules."""
        pairs = sum(module.parameters for module in self.modules)
        return pairs + sum(module.parameters for module in self.trained)

    @property
    def tensor_files(self) -> tuple[Path, ...]:
        """The files that hold the adapter's tensors, each once."""
        return tuple(dict.fromkeys(header.file for header in self.tensors.values()))


@dataclass(frozen=True, slots=True)
class Share:
    """A run of a blend, and the finite number, not 0, that all of its update is multiplied by."""

    run: Run
    weight: float

    @property
    def label(self) -> str:
        """For people: law-lora, or law-lora@0.7."""
        return self.run.label if self.weight == 1.0 else f"{self.run.label}@{self.weight:g}"


def _product_shape(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, int]:
    """[rows, columns] of a matrix that is there whole or as two factors."""
    if name in shapes:
        return (shapes[name][0], shapes[name][1])
    return (shapes[f"{name}_a"][0], shapes[f"{name}_b"][1])


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
