"""What a base model is, once found: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class BaseTensor:
    """One weight of the base. shape is numpy's order, [out_features, in_features]; type is ggml's name (Q4_1, F16)."""

    name: str
    shape: tuple[int, ...]
    type: str


@dataclass(frozen=True, slots=True)
class Base:
    """A base model: what is known of it, and where its weights are.

    ref: as a user would type it for --base. architecture: GGUF's name (llama, qwen2). found: how it was found.
    gguf: the weights, where they are a file that this process can read. config_dir: a Hugging Face directory with
    config.json. ollama_name: the name under which an Ollama server holds it. At least one of the three is set.
    tensors: by GGUF name; empty where only a config.json is at hand. metadata: GGUF key/values, without long arrays.
    revision: commit on the Hugging Face hub, "" where it did not come from there. alternatives: refs of other bases
    that would have fitted too. own_prompt: what of its Ollama model would win over a TEMPLATE built on it ("RENDERER
    qwen3-coder"), "" where nothing would.
    """

    ref: str
    architecture: str
    found: str
    gguf: Path | None = None
    config_dir: Path | None = None
    ollama_name: str | None = None
    tensors: Mapping[str, BaseTensor] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    chat_template: str | None = None
    revision: str = ""
    alternatives: tuple[str, ...] = ()
    own_prompt: str = ""

    @property
    def from_name(self) -> str | None:
        """The name that a model can be built FROM; None where its weights are to be taken alone, without its prompt.

        A renderer is inherited and cannot be switched off (Ollama, server/create.go): so where the file is at hand, the
        file is the base. Where it is not, the proof of the prompt decides.
        """
        return None if self.own_prompt and self.gguf is not None else self.ollama_name

    @property
    def file_type(self) -> str:
        """The ggml type that most of the weights have (Q4_1, F16), or "" where the tensors are not known."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            if len(tensor.shape) > 1:
                count = 1
                for size in tensor.shape:
                    count *= size
                sizes[tensor.type] = sizes.get(tensor.type, 0) + count
        return max(sizes, key=lambda name: sizes[name]) if sizes else ""

    @property
    def quantized(self) -> bool:
        """Whether most of the weights have lost precision to quantization."""
        return self.file_type not in ("", "F32", "F16", "BF16", "F64")
