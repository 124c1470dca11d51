"""The matrix: architecture x way to train, and what ggship must make of it."""

from __future__ import annotations

from dataclasses import dataclass

from .adapters import Option
from .models import ARCHITECTURES, Architecture
from .options import OPTIONS

DENSE = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "glm4")
EXPERTS = ("qwen3_moe", "mixtral")
UNTIED = ("llama", "mistral", "qwen3", "phi3", "glm4")


@dataclass(frozen=True)
class Cell:
    """route: pairs (adapter, and merged), updates (merged in GGUF), peft (merged by PEFT), or refused:CODE.

    All but the last are exact: what llama.cpp computes is what PEFT computes.
    """

    architecture: Architecture
    option: Option
    route: str

    @property
    def name(self) -> str:
        return f"{self.architecture.name}-{self.option.name}"

    @property
    def refused(self) -> str:
        """The obstacle's code, "" for an exact cell."""
        return self.route.removeprefix("refused:") if self.route.startswith("refused:") else ""


def _over(route: str, architectures: tuple[str, ...], *options: str) -> list[Cell]:
    return [Cell(ARCHITECTURES[arch], OPTIONS[option], route) for option in options for arch in architectures]


CELLS = (
    *_over("pairs", (*DENSE, *EXPERTS), "lora", "rslora", "alpha_pattern", "rank_pattern", "patterns-rslora"),
    *_over("pairs", DENSE, "rank_pattern-rslora", "float-alpha", "eva", "default-keys"),
    *_over("pairs", ("llama", "gemma3", "phi3", "qwen3_moe"), "negative-alpha", "subfolder", "sharded", "bfloat16"),
    *_over("pairs", ("llama", "qwen2", "glm4"), "gaussian", "orthogonal", "dropout"),
    *_over("pairs", ("llama", "qwen2", "glm4"), "regex", "all-linear", "one-layer"),
    *_over("pairs", ("mistral", "qwen3"), "attention", "default-keys-rslora", "half", "bfloat16-rslora"),
    *_over("pairs", UNTIED, "embedding", "lm_head", "embedding-lm_head"),
    *_over("pairs", ("llama", "mistral"), "embedding-rslora"),
    *_over("pairs", ("llama", "qwen2", "gemma2"), "pissa-converted", "olora-converted", "pissa-converted-rslora"),
    *_over("refused:changed-base", ("llama", "qwen3"), "pissa", "pissa_niter", "olora", "loftq", "corda", "lora_ga"),
    *_over("refused:replicated-layers", ("llama", "mistral"), "layer_replication"),
    *_over("refused:task", ("llama", "gemma2"), "seq_cls"),
    *_over("refused:variant", ("llama",), "qalora"),
    *_over("refused:zero-alpha", ("llama", "phi3"), "zero-alpha"),
    *_over("refused:not-lora", ("llama", "qwen2"), "prompt_tuning", "prefix_tuning", "p_tuning"),
)
