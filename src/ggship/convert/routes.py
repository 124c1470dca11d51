"""Which way a run's training gets into GGUF, and why; or that there is none.

Decided from headers and the config alone, before any work: nothing here imports numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggship.bases.model import Base
from ggship.convert.layout import READS_A_HEAD, Layout, unknown_layout
from ggship.errors import NotExpressible
from ggship.runs.model import Run
from ggship.runs.obstacles import MERGE, Obstacle, obstacles

EMBEDDING, HEAD = "token_embd.weight", "output.weight"
_PAIRS = "a GGUF adapter cannot carry all that was trained"


@dataclass(frozen=True, slots=True)
class Route:
    """How a run gets into GGUF.

    kind: "pairs" where an adapter GGUF carries all of it, to be served beside the base or merged; "updates" where only
    a merge does, which ggship makes in the base's GGUF; "peft" where PEFT must merge it into the base's own weights.
    reason: why, in one line. merged: what is merged besides plain pairs, in a line each. own_head: whether the merged
    model gets an output head that the base does not have.
    """

    kind: str
    reason: str
    merged: tuple[str, ...] = ()
    own_head: bool = False
    code: str = ""


def refuse_unshippable(run: Run) -> None:
    """Raise NotExpressible where no base makes a way for this run; every reason is named, in `where`."""
    for share in run.shares:
        refuse_unshippable(share.run)
    if run.shares:
        return
    found = obstacles(run)
    refused = [obstacle for obstacle in found if not obstacle.way]
    if run.config.get("lora_alpha") == 0 and (refused or not found):
        what = "lora_alpha is 0: the pairs change nothing, and llama.cpp would take it for a scale of 1"
        refused.append(Obstacle("zero-alpha", what, "set lora_alpha to what was trained"))
    if not found and not run.modules:
        refused.append(
            Obstacle("no-pairs", "it holds no LoRA pair", "point ggship at the directory that training wrote")
        )
    if run.config.get("alora_invocation_tokens") or run.config.get("invocation_string"):
        # Measured with llama-server b11434 and b11549 against PEFT 0.21 (tests/fidelity): up to a nat.
        what = (
            "llama.cpp switches an activated LoRA on one token before its invocation tokens, PEFT at the first of them"
        )
        refused.append(Obstacle("alora", f"{what}; merged, it has no form", "serve it with Transformers and PEFT"))
    if refused:
        raise _refusal("GGUF cannot carry all that was trained", refused)


def route_of(run: Run, base: Base) -> Route:
    """The route. Raises NotExpressible, naming every reason and the first one's code, where there is none."""
    refuse_unshippable(run)
    if run.shares:
        return _blended(run, base)
    found = obstacles(run)
    parted = _parted(run, base)
    if not found and parted is None:
        return Route("pairs", "every trained number is in a LoRA pair")
    why = tuple(obstacle.what for obstacle in found) + ((parted.what,) if parted else ())
    code = found[0].code if found else "tied"
    own_head = parted is not None and parted.way == HEAD
    by_peft = [obstacle.what for obstacle in found if obstacle.way == "peft"]
    strange = unknown_layout(base)
    if not strange and run.config.get("fan_in_fan_out") and base.architecture != "gpt2":
        strange = f"{base.architecture} does not keep its weights transposed (fan_in_fan_out)"
    if by_peft or strange:
        return Route("peft", f"PEFT must merge it: {(*by_peft, strange)[0]}", why, own_head=own_head, code=code)
    return Route("updates", why[0] if len(why) == 1 else f"{why[0]}, and more", why, own_head=own_head, code=code)


def _blended(run: Run, base: Base) -> Route:
    """The route of a blend: that of its runs, where what they trained has a sum."""
    routes = [(share, route_of(share.run, base)) for share in run.shares]
    merged = tuple(f"{share.label}: {what}" for share, route in routes for what in route.merged)
    if all(route.kind == "pairs" for _, route in routes):
        return Route("pairs", "every trained number of each run is in a LoRA pair")
    from ggship.convert.blended import why_no_sum

    by_peft = [f"{share.label}: {route.reason}" for share, route in routes if route.kind == "peft"]
    why = by_peft or why_no_sum(run.shares, base)
    if why:
        way_out = "ship them one by one, at weight 1; or train plain LoRA"
        raise _refusal("these updates cannot be added up", [Obstacle("blend", what, way_out) for what in why])
    own_head = any(route.own_head for _, route in routes)
    return Route("updates", f"{merged[0]}, and more" if merged[1:] else merged[0], merged, own_head, code="blend")


def require_pairs(run: Run, base: Base) -> Route:
    """The route, where it is an adapter GGUF; NotExpressible with the way out where only a merge carries everything."""
    route = route_of(run, base)
    if route.kind != "pairs":
        raise NotExpressible(_PAIRS, where="\n".join(route.merged), hint=MERGE, code=route.code)
    return route


def _parted(run: Run, base: Base) -> Obstacle | None:
    """Why a tied base needs a merge; `way` is HEAD where it needs a head of its own.

    Raises NotExpressible where llama.cpp has no place for one.
    """
    layout = Layout(base, 1)
    if not layout.facts.tied:
        return None
    pairs = {place.tensor: module.name for module in run.modules for place in layout.weight(module.name)}
    others = {
        place.tensor: item.name
        for item in run.trained
        if item.method not in ("dora", "bias", "frozen", "tokens") and set(item.parts) != {"bias"}
        for place in layout.weight(item.name)
    }
    on = {**others, **pairs}
    embedding, head = on.get(EMBEDDING), on.get(HEAD)
    if embedding and run.config.get("ensure_weight_tying") is True:
        what = f"{embedding} is the output head too (tied weights), which llama.cpp cannot do beside an adapter"
        return Obstacle("tied", what, MERGE, "merge")
    alone = embedding or head
    if alone is None:
        return None
    if base.architecture not in READS_A_HEAD and not unknown_layout(base):
        what = f"{alone} was trained alone, and llama.cpp takes {base.architecture}'s embedding as its output head"
        remedy = "train again without it, or with ensure_weight_tying=True"
        raise _refusal("GGUF cannot carry all that was trained", [Obstacle("tied", what, remedy)])
    what = (
        f"{alone} was trained by itself, though embedding and output head are one weight of this base: they are parted"
    )
    return Obstacle("tied", what, MERGE, HEAD)


def _refusal(message: str, found: Sequence[Obstacle]) -> NotExpressible:
    return NotExpressible(
        message,
        where="\n".join(dict.fromkeys(obstacle.what for obstacle in found)),
        hint="\n".join(dict.fromkeys(obstacle.remedy for obstacle in found if obstacle.remedy)),
        code=found[0].code,
    )
