"""Where a weight of Hugging Face lies in GGUF, and how its rows are ordered there.

Read in the vendored converter, conversion/*.py: llama.py (permute), gemma.py (norms + 1), qwen.py and llama.py (experts
stacked, gate and up apart), gpt2.py (Conv1D turned, so that rows are outputs, as everywhere else).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggship.bases.model import Base
from ggship.convert.facts import BaseFacts, read_facts
from ggship.convert.names import weights_of
from ggship.errors import BaseMismatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# GGUF architecture -> transformers' classes of it whose weights the converter lays out as this module does.
CLASSES: dict[str, frozenset[str]] = {
    "llama": frozenset(("LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM", "MixtralForCausalLM")),
    "qwen2": frozenset(("Qwen2ForCausalLM",)),
    "qwen2moe": frozenset(("Qwen2MoeForCausalLM",)),
    "qwen3": frozenset(("Qwen3ForCausalLM",)),
    "qwen3moe": frozenset(("Qwen3MoeForCausalLM",)),
    "gemma": frozenset(("GemmaForCausalLM",)),
    "gemma2": frozenset(("Gemma2ForCausalLM",)),
    "gemma3": frozenset(("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration")),
    "phi3": frozenset(("Phi3ForCausalLM",)),
    "chatglm": frozenset(("ChatGLMModel", "ChatGLMForConditionalGeneration", "GlmForCausalLM")),
    "glm4": frozenset(("Glm4ForCausalLM",)),
    "gpt2": frozenset(("GPT2LMHeadModel",)),
}
# Architectures of which llama.cpp reads output.weight where it is there, and takes the embedding where it is not
# (src/models/*.cpp, load_tensors); gemma and gemma2 always take the embedding.
READS_A_HEAD = frozenset(CLASSES) - {"gemma", "gemma2"}
# Biases that llama.cpp reads where they are there, whether or not models of that architecture have them: those of
# queries, keys and values everywhere (llama-model.cpp, create_tensor_qkv), and a few more (src/models/llama.cpp).
_READ_BIASES = ("attn_q", "attn_k", "attn_v", "attn_qkv")
_READ_BIASES_OF = {"llama": ("attn_output", "ffn_gate", "ffn_up", "ffn_down")}
_EXPERT = re.compile(r"\.experts\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where rows of a Hugging Face weight (or numbers of a vector) go.

    tensor: GGUF's name. matrix: which of a stack of experts, None for all of it or where there is no stack. heads:
    above 0 where rows are permuted within each head. half: 0 or 1 where only that half of the rows goes there (gate and
    up in one), None for all. shift: what GGUF adds to every number.
    """

    tensor: str
    matrix: int | None = None
    heads: int = 0
    half: int | None = None
    shift: float = 0.0

    def order(self, rows: int) -> NDArray[np.intp] | None:
        """For each row in GGUF that of Hugging Face, of `rows` in all; None where they are the same."""
        import numpy as np

        if self.half is not None:
            return np.arange(self.half * rows // 2, (self.half + 1) * rows // 2)
        if self.heads:
            # transformers rotates the halves of a head against each other, llama.cpp neighbours (LlamaModel.permute).
            order: NDArray[np.intp] = np.arange(rows).reshape(self.heads, 2, -1).swapaxes(1, 2).reshape(rows)
            return order
        return None


def unknown_layout(base: Base) -> str:
    """Why weights of this base cannot be laid out here, in words; "" where they can."""
    facts = read_facts(base)
    if base.architecture not in CLASSES:
        return f"the architecture {base.architecture} is not among {', '.join(sorted(CLASSES))}"
    if facts.hf_class and facts.hf_class not in CLASSES[base.architecture]:
        return f"{facts.hf_class} is converted by rules of its own"
    if facts.sections:
        return "its rotary embedding has sections (M-RoPE), for which rows are permuted in another way"
    return ""


def reads_bias(architecture: str, tensor: str) -> bool:
    """Whether llama.cpp reads that bias (blk.0.attn_q.bias) of a base that lacks it."""
    kind = tensor.removesuffix(".bias").rpartition(".")[2]
    return kind in _READ_BIASES or kind in _READ_BIASES_OF.get(architecture, ())


class Layout:
    """The layout of one base's weights. blocks: how many layers it has, or the adapter needs."""

    def __init__(self, base: Base, blocks: int) -> None:
        self._base = base
        self.facts: BaseFacts = read_facts(base)
        self._blocks = self.facts.block_count or blocks

    def weight(self, module: str) -> tuple[Destination, ...]:
        """Where the module's weight (or the parameter `...experts.gate_up_proj`) goes; () where GGUF has no place."""
        tensors = weights_of(self._base.architecture, self._blocks, module)
        expert = _EXPERT.search(module)
        if expert:
            return tuple(Destination(tensor, int(expert[1])) for tensor in tensors)
        if len(tensors) == 2:
            return tuple(Destination(tensor, half=half) for half, tensor in enumerate(tensors))
        return tuple(Destination(name, heads=self._heads(module), shift=self._shift(module)) for name in tensors)

    def bias(self, module: str) -> tuple[Destination, ...]:
        """Where the module's bias goes."""
        return tuple(
            Destination(tensor.removesuffix(".weight") + ".bias", heads=self._heads(module))
            for tensor in weights_of(self._base.architecture, self._blocks, module)
            if tensor != "token_embd.weight"
        )

    def _shift(self, module: str) -> float:
        return 1.0 if self._base.architecture.startswith("gemma") and module.endswith("norm") else 0.0

    def _heads(self, module: str) -> int:
        if self._base.architecture != "llama" or not module.endswith(("q_proj", "k_proj")):
            return 0
        heads = self.facts.heads if module.endswith("q_proj") else self.facts.kv_heads
        if not heads:
            raise BaseMismatch(
                "the base does not say how many attention heads it has",
                where=self._base.ref,
                hint="pass a whole GGUF file, or a directory with config.json, with --base",
            )
        return heads
