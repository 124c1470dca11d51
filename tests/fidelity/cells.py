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


_SAVED = ("saved-norm", "saved-head", "saved-embedding", "saved-both", "saved-linear", "saved-norms")
_DORA = ("dora", "dora-rslora", "dora-patterns", "dora-saved-norm", "dora-default-keys")
_FACTORS = ("loha", "loha-patterns", "lokr", "lokr-full", "lokr-both", "lokr-factor", "adalora")
_ROTATIONS = ("oft", "oft-cayley", "oft-terms", "oft-share", "coft")
_BY_PEFT = (
    "boft", "hra", "miss", "miss-bat", "fourierft", "shira", "c3a", "road", "delora", "gralora", "osf", "waveft",
    "tinylora", "peanut", "deft", "glora", "hira", "unilora", "vblora", "supertuning", "randlora", "pvera",
)  # fmt: skip
_CHANGED_BASE = ("pissa", "pissa_niter", "olora", "loftq", "corda", "lora_ga")
_NO_WEIGHTS = ("prompt_tuning", "prefix_tuning", "p_tuning", "cpt")

PAIRS = (
    *_over("pairs", (*DENSE, *EXPERTS), "lora", "rslora", "alpha_pattern", "rank_pattern", "patterns-rslora"),
    *_over("pairs", DENSE, "rank_pattern-rslora", "float-alpha", "eva", "default-keys"),
    *_over("pairs", ("llama", "gemma3", "phi3", "qwen3_moe"), "negative-alpha", "subfolder", "sharded", "bfloat16"),
    *_over("pairs", ("llama", "qwen2", "glm4"), "gaussian", "orthogonal", "dropout"),
    *_over("pairs", ("llama", "qwen2", "glm4"), "regex", "all-linear", "one-layer"),
    *_over("pairs", ("mistral", "qwen3"), "attention", "default-keys-rslora", "half", "bfloat16-rslora"),
    *_over("pairs", UNTIED, "embedding", "lm_head", "embedding-lm_head"),
    *_over("pairs", ("llama", "mistral"), "embedding-rslora"),
    *_over("pairs", ("llama", "qwen2", "gemma2"), "pissa-converted", "olora-converted", "pissa-converted-rslora"),
    *_over("pairs", ("llama", "qwen3"), "corda-converted", "lora_ga-converted", "mica"),
    *_over("pairs", EXPERTS, "lora-router"),
    *_over("pairs", ("llama",), "bias-all", "bias-lora"),
)
UPDATES = (
    *_over("updates", (*DENSE, *EXPERTS), "dora", "saved-norm", "tokens"),
    *_over("updates", ("llama", "gemma3", "phi3", "glm4"), *_DORA[1:], "saved-norms", "saved-linear"),
    *_over("updates", UNTIED, "saved-head", "saved-embedding", "saved-both", "dora-embedding", "dora-lm_head"),
    *_over("updates", ("llama", "mistral"), "saved-both-rslora", "tokens-by-module", "only-tokens"),
    *_over("updates", ("llama-tied", "qwen2", "gemma3"), "embedding", "lm_head", "saved-head", "saved-embedding"),
    *_over("updates", ("llama-tied", "gemma2"), "embedding-tied", "saved-embedding-tied"),
    *_over("updates", ("qwen2", "glm4", "phi3"), "ia3", "ln_tuning", "vera-square"),
    *_over("updates", ("llama", "qwen3", "phi3"), *_FACTORS, *_ROTATIONS, "ia3", "vera", "vera-drawn"),
    *_over("updates", ("llama", "gemma2", "gemma3", "glm4"), "ln_tuning"),
    *_over("updates", ("qwen2",), "bias-all", "bias-lora", "lora_bias"),
    *_over("updates", ("llama", "mistral"), "lora_bias-linear"),
    *_over("updates", ("gpt2",), "conv1d", "conv1d-rslora", "conv1d-dora", "saved-norm", "bias-all", "ia3"),
    *_over("updates", EXPERTS, "experts", "experts-rslora", "only-experts", "old-experts"),
)
BY_PEFT = (
    *_over("peft", ("llama",), *_BY_PEFT),
    *_over("peft", ("gemma3", "qwen3_moe"), "boft", "hra", "miss", "road"),
    *_over("peft", ("phi3", "glm4"), "boft", "gralora", "c3a"),
    *_over("peft", ("qwen2",), "beft"),
    *_over("peft", ("llama",), "velora"),
)
REFUSED = (
    *_over("refused:changed-base", ("llama", "qwen3"), *_CHANGED_BASE),
    *_over("refused:replicated-layers", ("llama", "mistral"), "layer_replication"),
    *_over("refused:task", ("llama", "gemma2"), "seq_cls", "token_cls"),
    *_over("refused:variant", ("llama",), "qalora", "kasa", "monteclora", "bdlora"),
    *_over("refused:task", ("llama",), "value_head"),
    *_over("refused:alora", ("llama", "qwen3"), "alora"),
    *_over("refused:zero-alpha", ("llama", "phi3"), "zero-alpha"),
    *_over("refused:not-lora", ("llama", "qwen2"), *_NO_WEIGHTS),
    *_over("refused:tied", ("gemma2",), "embedding", "lm_head", "saved-embedding"),
    *_over("refused:recomputed", ("llama",), "psoft", "frod"),
    *_over("refused:unmergeable", ("llama",), "lily"),
)
CELLS = tuple({cell.name: cell for cell in (*PAIRS, *UPDATES, *BY_PEFT, *REFUSED)}.values())
