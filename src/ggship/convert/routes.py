"""Which way a run's training gets into GGUF, and why; or that there is none.

Decided from headers and the config alone, before any work: nothing here imports numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ggship.bases.model import Base
from ggship.convert.layout import READS_A_HEAD, Layout, unknown_layout
from ggship.errors import NotExpressible
from ggship.runs.model import Run
from ggship.runs.obstacles import obstacles

EMBEDDING, HEAD = "token_embd.weight", "output.weight"


@dataclass(frozen=True, slots=True)
class Route:
    """How a run gets into GGUF.

    kind: "pairs" where an adapter GGUF carries all of it, to be served beside the base or merged; "updates" where only
    a merge does, which ggship makes in the base's GGUF; "peft" where PEFT must merge it into the base's own weights.
    reason: why, in one line. merged: what is merged besides plain pairs, each with its why, in a line. servable:
    whether llama.cpp can serve the adapter beside this base; mergeable: whether there is a merged form of it at all.
    """

    kind: str
    reason: str
    merged: tuple[str, ...] = ()
    servable: bool = True
    mergeable: bool = True


def route_of(run: Run, base: Base) -> Route:
    """The route. Raises NotExpressible, naming every reason and the first one's code, where there is none."""
    found = obstacles(run)
    refused = [obstacle for obstacle in found if not obstacle.way]
    if not found and run.modules and run.config.get("lora_alpha") == 0:
        refused_zero = ("zero-alpha", "lora_alpha is 0: the adapter changes nothing, and llama.cpp would take 0 for 1")
        _refuse([refused_zero], ["set lora_alpha to what was trained"])
    if not found and not run.modules:
        _refuse([("no-pairs", "it holds no LoRA pair")], ["point ggship at the directory that training wrote"])
    if refused:
        reasons = [(obstacle.code, obstacle.what) for obstacle in refused]
        _refuse(reasons, [obstacle.remedy for obstacle in refused])
    ways = {obstacle.way for obstacle in found}
    lines = tuple(obstacle.what for obstacle in found)
    parted = tuple(_parted(run, base))
    if run.config.get("alora_invocation_tokens") or run.config.get("invocation_string"):
        if lines:
            _refuse([("alora", "an activated LoRA cannot be merged, and more than its pairs was trained")], [])
        return Route("pairs", "an activated LoRA, which works only after its invocation tokens", mergeable=False)
    if not found and not parted:
        return Route("pairs", "every trained number is in a LoRA pair")
    why = (*lines, *parted)
    strange = unknown_layout(base)
    if "peft" in ways or strange or (run.config.get("fan_in_fan_out") and base.architecture != "gpt2"):
        reason = next((o.what for o in found if o.way == "peft"), "") or strange or "the base is no Conv1D model"
        return Route("peft", f"PEFT must merge it: {reason}", why, servable=False)
    return Route("updates", why[0] if len(why) == 1 else f"{why[0]}, and more", why, servable=False)


def _parted(run: Run, base: Base) -> Iterator[str]:
    """Why a tied base needs a merge, or a head of its own. NotExpressible where llama.cpp has no place for one."""
    layout = Layout(base, 1)
    if not layout.facts.tied:
        return
    pairs = {place.tensor: module.name for module in run.modules for place in layout.weight(module.name)}
    others = {
        place.tensor: item.name
        for item in run.trained
        if item.method not in ("dora", "bias", "frozen", "tokens") and set(item.parts) != {"bias"}
        for place in layout.weight(item.name)
    }
    on = {**others, **pairs}
    embedding, head = on.get(EMBEDDING), on.get(HEAD)
    together = run.config.get("ensure_weight_tying") is True and embedding is not None
    if together:
        yield f"{embedding} is the output head too (tied weights), which llama.cpp cannot do with an adapter"
    elif embedding or head:
        alone = embedding or head
        if base.architecture not in READS_A_HEAD and not unknown_layout(base):
            what = f"{alone} was trained alone, and llama.cpp takes {base.architecture}'s embedding as its output head"
            _refuse([("tied", what)], ["train again without it, or with ensure_weight_tying=True"])
        yield f"{alone} was trained alone, though embedding and output head are one weight in this base: it gets both"


def _refuse(reasons: list[tuple[str, str]], remedies: list[str]) -> None:
    raise NotExpressible(
        "GGUF cannot carry all that was trained",
        where="\n".join(dict.fromkeys(what for _, what in reasons)),
        hint="\n".join(dict.fromkeys(remedy for remedy in remedies if remedy)),
        code=reasons[0][0],
    )
