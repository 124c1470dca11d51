"""Blends that no adapter carries: which have a sum, and what becomes of the base's tensors.

Law: a tensor that one run alone changes, at weight 1, becomes what that run makes of it, whatever the method. One that
several change, or one at another weight, becomes W + sum of w_i D_i, where every D_i is a product of low rank that is
added to W. Nothing else has a sum: PEFT computes DoRA beside another adapter from W, and merges it into what the other
left (tuners/lora/dora.py, layer.py); of modules_to_save it takes one (utils/other.py, ModulesToSaveWrapper).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ggship.bases.model import Base
from ggship.convert.layout import Layout
from ggship.runs.model import Run, Share

if TYPE_CHECKING:
    from ggship.convert.sources import AdapterTensors
    from ggship.gguf.updates.model import TensorUpdate, Update

ADDED = frozenset(("experts", "adalora", "vera"))
"""Methods besides plain pairs whose update is a product of low rank, added to the weight."""
_SHOWN = 3
_EMBEDDING, _HEAD = "token_embd.weight", "output.weight"
_WORDS = {
    "dora": "DoRA rescales it as a whole",
    "saved": "it was trained as a whole, and replaced",
    "tokens": "rows of it were replaced",
    "bias": "its bias was trained too",
    "ia3": "IA3 multiplies it",
    "oft": "OFT turns it",
    "loha": "LoHa's update is no product of low rank",
    "lokr": "LoKr's update is no product of low rank",
}


def why_no_sum(shares: Sequence[Share], base: Base) -> tuple[str, ...]:
    """Why these runs cannot be added up, in words; () where they can."""
    touched = [_touched(share.run, base) for share in shares]
    found = [
        f"{share.label}: {module}: {_WORDS.get(method, method)}, and {other}"
        for number, (share, own) in enumerate(zip(shares, touched, strict=True))
        for tensor, (module, method) in own.items()
        if method
        for other in [_other(share, tensor, number, shares, touched)]
        if other
    ]
    more = (f"and {len(found) - _SHOWN} more tensors",) if len(found) > _SHOWN else ()
    return (*found[:_SHOWN], *more) or _two_heads(shares, base, touched)


def blended_updates(run: Run, base: Base, tensors: AdapterTensors) -> tuple[TensorUpdate, ...]:
    """The updates of a blend that has a sum; arguments and errors as of `tensor_updates`."""
    from ggship.convert.updates import tensor_updates

    found: dict[str, list[tuple[TensorUpdate, float]]] = {}
    for share in run.shares:
        for update in tensor_updates(share.run, base, tensors):
            found.setdefault(update.name, []).append((update, share.weight))
    return tuple(
        updates[0][0]
        if len(updates) == 1 and updates[0][1] == 1.0
        else replace(updates[0][0], make=_sum([(update.make, weight) for update, weight in updates if update.make]))
        for updates in found.values()
    )


def _sum(makers: Sequence[tuple[Callable[[int], Update | None], float]]) -> Callable[[int], Update | None] | None:
    if not makers:
        return None

    def make(matrix: int) -> Update | None:
        import numpy as np

        from ggship.gguf.lowrank import LowRank

        made = [(update, weight) for maker, weight in makers if (update := maker(matrix)) is not None]
        if not made:
            return None
        parts = [(update.b * weight, update.a) for update, weight in made if isinstance(update, LowRank)]
        if len(parts) != len(made):
            raise AssertionError("an update that has no sum: why_no_sum should have said so")
        return LowRank(np.hstack([b for b, _ in parts]), np.vstack([a for _, a in parts]))

    return make


def _touched(run: Run, base: Base) -> Mapping[str, tuple[str, str]]:
    """The base's tensors that a run changes -> (by which module, its method, "" for one that is added)."""
    layout = Layout(base, 1 + max(map(_block, (*run.modules, *run.trained)), default=0))
    found: dict[str, tuple[str, str]] = {}
    for module in run.modules:
        found.update({place.tensor: (module.name, "") for place in layout.weight(module.name)})
    for item in run.trained:
        if item.method != "frozen":
            method = "" if item.method in ADDED else item.method
            for tensor in _tensors(item.method, item.name, tuple(item.parts), layout):
                if method or tensor not in found:
                    found[tensor] = (item.name, method)
    return found


def _tensors(method: str, name: str, parts: Sequence[str], layout: Layout) -> Iterator[str]:
    if method == "bias" or "bias" in parts or method == "ia3":
        yield from (place.tensor for place in layout.bias(name))
    if method != "bias" and tuple(parts) != ("bias",):
        yield from (place.tensor for place in layout.weight(name))


def _other(
    share: Share, tensor: str, number: int, shares: Sequence[Share], touched: Sequence[Mapping[str, object]]
) -> str:
    """What stands against it: its weight, or another run that changes the same tensor."""
    if share.weight != 1.0:
        return f"it has no {share.weight:g} times"
    others = [one.label for at, one in enumerate(shares) if at != number and tensor in touched[at]]
    return f"{others[0]} changes it too" if others else ""


def _two_heads(
    shares: Sequence[Share], base: Base, touched: Sequence[Mapping[str, tuple[str, str]]]
) -> tuple[str, ...]:
    """Whether to part a tied embedding and head is for one run to say."""
    if not Layout(base, 1).facts.tied:
        return ()
    having = [share for share, own in zip(shares, touched, strict=True) if _EMBEDDING in own or _HEAD in own]
    if len(having) < 2:
        return ()
    labels = " and ".join(share.label for share in having[:2])
    return (f"{labels} both train the embedding or the head, which are one weight of this base",)


def _block(module: object) -> int:
    name: str = module.name  # type: ignore[attr-defined]
    return next((int(part) for part in name.split(".") if part.isdecimal()), 0)
