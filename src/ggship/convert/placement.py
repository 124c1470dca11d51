"""Where each pair of a run goes in GGUF, and what must happen to it on the way."""

from __future__ import annotations

from dataclasses import dataclass

from ggship.bases.model import Base
from ggship.convert.facts import BaseFacts, read_facts
from ggship.convert.names import map_module
from ggship.convert.pairs import fold_factor
from ggship.errors import BaseMismatch, NotExpressible
from ggship.runs.model import LoraModule, Run

ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "chatglm", "glm4"})

# transformers' classes that llama.cpp's converter treats as this module does (conversion/*.py of the vendored release).
_CLASSES = {
    "llama": {"LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM"},
    "qwen2": {"Qwen2ForCausalLM"},
    "qwen3": {"Qwen3ForCausalLM"},
    "gemma": {"GemmaForCausalLM"},
    "gemma2": {"Gemma2ForCausalLM"},
    "gemma3": {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
    "phi3": {"Phi3ForCausalLM"},
    "chatglm": {"ChatGLMModel", "ChatGLMForConditionalGeneration", "GlmForCausalLM"},
    "glm4": {"Glm4ForCausalLM"},
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A pair and its place: `target` is the base's weight in GGUF (blk.0.attn_q.weight).

    heads: above 0 where the rows of B are permuted head by head. factor: what B is multiplied by, 1.0 for as it is.
    """

    module: LoraModule
    target: str
    heads: int
    factor: float

    @property
    def a_shape(self) -> tuple[int, ...]:
        """A as GGUF holds it: an embedding's is turned, since llama.cpp looks rows of it up (llm_build_inp_embd)."""
        shape = self.module.a.shape
        return shape[::-1] if self.module.embedding else shape


def unknown_to_native(run: Run, base: Base) -> str:
    """Why the native converter leaves this run to the vendored one, in words; "" where it does not."""
    if base.architecture not in ARCHITECTURES:
        return f"the architecture {base.architecture} is not among {', '.join(sorted(ARCHITECTURES))}"
    facts = read_facts(base)
    if facts.hf_class and facts.hf_class not in _CLASSES[base.architecture]:
        return f"{facts.hf_class} is converted by rules of its own"
    if facts.sections:
        return "its rotary embedding has sections (M-RoPE), for which rows are permuted in another way"
    if run.config.get("invocation_string") and not run.config.get("alora_invocation_tokens"):
        return "the invocation string of its activated LoRA must be tokenized first"
    if any(".experts." in module.name for module in run.modules):
        return "pairs of single experts must be stacked"
    return ""


def place_pairs(run: Run, base: Base) -> tuple[Placed, ...]:
    """Every pair of the run in its place, in the order of the file, or an error; none is left out.

    Raises NotExpressible for a pair that GGUF has no place for, BaseMismatch for one of another shape than the base's.
    """
    facts = read_facts(base)
    alpha = float(run.config["lora_alpha"])
    blocks = facts.block_count or 1 + max((_block(module.name) for module in run.modules), default=0)
    modules = sorted(run.modules, key=lambda module: (module.a.file, min(module.a.offset, module.b.offset)))
    placed = tuple(_place(module, base, facts, blocks, alpha) for module in modules)
    _refuse_same_place(placed)
    return placed


def folded_modules(run: Run) -> tuple[str, ...]:
    """Names of the modules whose scale GGUF cannot say (rsLoRA, alpha patterns), so that it is folded into B."""
    alpha = float(run.config["lora_alpha"])
    return tuple(module.name for module in run.modules if fold_factor(module.scale, module.rank, alpha) != 1.0)


def _place(module: LoraModule, base: Base, facts: BaseFacts, blocks: int, alpha: float) -> Placed:
    target = map_module(base.architecture, blocks, module.name)
    if target is None:
        raise NotExpressible(
            "the adapter changes a module that has no tensor in GGUF",
            where=f"{module.name}, of a {base.architecture} base with {blocks} blocks",
            hint="merge with PEFT (merge_and_unload) and ship the merged model, or train again without that module",
        )
    _check_shape(module, target, base, facts)
    heads = 0
    if base.architecture == "llama" and module.name.endswith(("q_proj", "k_proj")):
        heads = _heads(module, base, facts)
    return Placed(module, target, heads, fold_factor(module.scale, module.rank, alpha))


def _refuse_same_place(placed: tuple[Placed, ...]) -> None:
    first: dict[str, str] = {}
    for place in placed:
        other = first.setdefault(place.target, place.module.name)
        if other != place.module.name:
            raise NotExpressible(
                "two pairs of the adapter change the same tensor",
                where=f"{other} and {place.module.name} -> {place.target}",
                hint="save one adapter by itself: model.save_pretrained(DIR, selected_adapters=[NAME])",
            )


def _check_shape(module: LoraModule, target: str, base: Base, facts: BaseFacts) -> None:
    wanted = base.tensors[target].shape if target in base.tensors else None
    if base.tensors and wanted is None:
        raise BaseMismatch(
            "the base has no tensor for a module of the adapter",
            where=f"{module.name} -> {target}",
            hint="pass the base it was trained on with --base; `ggship inspect` shows the one that training named",
        )
    if wanted is None and module.embedding and facts.vocabulary:
        wanted = (facts.vocabulary, module.base_shape[1])
    if wanted is not None and tuple(wanted) != module.base_shape:
        raise BaseMismatch(
            "the adapter was trained on another base",
            where=f"{module.name}: adapter {module.base_shape}, base {tuple(wanted)}",
            hint="pass the right one with --base; `ggship inspect` shows the one that training named",
        )


def _heads(module: LoraModule, base: Base, facts: BaseFacts) -> int:
    """Heads by which llama.cpp's converter permutes q and k of the llama family (LlamaModel.permute)."""
    heads = facts.heads if module.name.endswith("q_proj") else facts.kv_heads
    if not heads:
        raise BaseMismatch(
            "the base does not say how many attention heads it has",
            where=base.ref,
            hint="pass a whole GGUF file, or a directory with config.json, with --base",
        )
    if module.b.shape[0] % (2 * heads):
        raise BaseMismatch(
            "the adapter was trained on a base with another number of attention heads",
            where=f"{module.name}: {module.b.shape[0]} rows, {heads} heads in the base",
            hint="pass the right one with --base; `ggship inspect` shows the one that training named",
        )
    return heads


def _block(name: str) -> int:
    return next((int(part) for part in name.split(".") if part.isdecimal()), 0)
