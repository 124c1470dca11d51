"""Bases whose output head is their embedding (tied weights): which pairs on it mean there what they meant in training.

Such a base has one tensor, token_embd.weight, in two places. PEFT's pair on `embed_tokens` changes only how tokens are
looked up, unless `ensure_weight_tying` made it change the head as well; one on `lm_head` changes the head alone.
"""

from __future__ import annotations

from ggship.bases.model import Base
from ggship.convert.facts import read_facts
from ggship.convert.names import map_module
from ggship.errors import NotExpressible
from ggship.runs.model import Run

EMBEDDING, HEAD = "token_embd.weight", "output.weight"


def refuse_tied(run: Run, base: Base, *, merging: bool) -> None:
    """Raise NotExpressible where a pair of the run is on a tensor that this base has in two places.

    merging: the adapter is only a step on the way into the base's weights; there the update of both places at once can
    be said, and nothing else can. llama.cpp itself finds an adapter's pair by the tensor's name, in both places, and
    aborts where it multiplies the head by one of an embedding's shape (b11434; llama-graph.cpp: build_lora_mm).
    """
    on = _on_shared(run, base)
    if HEAD in on:
        raise NotExpressible(
            "the adapter changes the output head, which in this base is the embedding itself (tied weights)",
            where=on[HEAD],
            hint="merge with PEFT (merge_and_unload) and ship the merged model, or train again without lm_head",
        )
    if EMBEDDING in on and not _both(run):
        raise NotExpressible(
            "the adapter changes the embedding alone, which in this base is the output head too (tied weights): "
            "in GGUF it would change both",
            where=on[EMBEDDING],
            hint="train again without embed_tokens, or with ensure_weight_tying=True and merge (--strategy merge)",
        )
    if EMBEDDING in on and not merging:
        raise NotExpressible(
            "llama.cpp cannot serve an adapter of an embedding that is the output head too (tied weights)",
            where=on[EMBEDDING],
            hint="merge it: ggship package --strategy merge, or ggship merge",
        )


def servable(run: Run, base: Base) -> bool:
    """Whether llama.cpp can serve the adapter beside this base, as far as tied weights go."""
    return not _on_shared(run, base)


def _on_shared(run: Run, base: Base) -> dict[str, str]:
    """Tensor -> module, of the run's pairs on the shared tensor; empty where the base is not tied."""
    facts = read_facts(base)
    if not facts.tied:
        return {}
    blocks = facts.block_count or 1
    found = {map_module(base.architecture, blocks, module.name): module.name for module in run.modules}
    return {tensor: module for tensor, module in found.items() if tensor in (EMBEDDING, HEAD)}


def _both(run: Run) -> bool:
    return run.config.get("ensure_weight_tying") is True
