"""Say whether an adapter fits a base: every module has its weight there, of the right shape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ggship.bases.dimensions import UNIFORM, Dimensions, from_metadata
from ggship.bases.model import Base
from ggship.errors import BaseMismatch, GgshipError
from ggship.runs.model import Run

_SHOWN = 3
# Methods that train every layer, or those that layers_to_transform names.
_PER_LAYER = ("adalora", "loha", "lokr", "ia3", "vera", "oft")


@dataclass(frozen=True, slots=True)
class Fit:
    """targets: module -> the base's weight in GGUF, the first where it lies in two.

    exact: whether shapes were compared with the weights themselves. Otherwise they were compared with the base's
    dimensions, and `unknown` modules not at all.
    """

    architecture: str
    targets: Mapping[str, str]
    exact: bool
    unknown: int = 0


def check_fit(run: Run, base: Base) -> Fit:
    """Hold every module of the adapter against the base. Headers only.

    Raises BaseMismatch with the first differences, how many more there are, and the base that training named.
    """
    from ggship.convert.names import weights_of

    if run.shares:
        return _of_all([check_fit(share.run, base) for share in run.shares])
    dimensions = from_metadata(base.architecture, base.metadata)
    claims = _claims(run)
    blocks = dimensions.blocks or _blocks(base) or 1 + max((_block(name) for name, _ in claims), default=0)
    targets: dict[str, str] = {}
    wrong: list[str] = []
    unknown = lacking = 0
    for name, claimed in claims:
        found = weights_of(base.architecture, blocks, name)
        wanted = (claimed[0] // 2, *claimed[1:]) if len(found) == 2 else claimed
        shape = _shape(base, dimensions, found[0]) if found else None
        if not found or (base.tensors and shape is None):
            wrong.append(f"{name}: adapter {_text(wanted)}, no such weight in the base")
            lacking += 1
        elif shape is not None and not _agree(wanted, shape):
            wrong.append(f"{name}: adapter {_text(wanted)}, base {_text(shape)}")
        else:
            targets[name] = found[0]
            unknown += shape is None
    if wrong:
        some = "GS402" if lacking else "GS401"
        raise _mismatch(run, base, wrong, len(claims), "GS403" if lacking == len(claims) else some)
    _check_depth(run, base, dimensions.blocks or _blocks(base))
    return Fit(base.architecture, targets, bool(base.tensors), unknown)


def _of_all(fits: Sequence[Fit]) -> Fit:
    """Of a blend: every run of it fits."""
    targets = {module: target for fit in fits for module, target in fit.targets.items()}
    return Fit(fits[0].architecture, targets, all(fit.exact for fit in fits), sum(fit.unknown for fit in fits))


def _claims(run: Run) -> list[tuple[str, tuple[int, ...]]]:
    """(module, shape that its weight must have) of everything trained; 0 in a shape where any number will do."""
    pairs: list[tuple[str, tuple[int, ...]]] = [(module.name, module.base_shape) for module in run.modules]
    return pairs + [(item.name, item.base_shape) for item in run.trained if item.base_shape]


def _agree(wanted: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """A claim is of one matrix, the base's weight may be a stack of them."""
    return len(wanted) <= len(shape) and all(
        size in (0, there) for size, there in zip(wanted[::-1], shape[::-1], strict=False)
    )


def fits(run: Run, base: Base) -> bool:
    """Whether check_fit holds."""
    try:
        check_fit(run, base)
    except GgshipError:
        return False
    return True


def _shape(base: Base, dimensions: Dimensions, target: str) -> tuple[int, ...] | None:
    if not base.tensors:
        return dimensions.shape(target)
    if target == "output.weight" and target not in base.tensors:
        # Tied weights: the head is the embedding. Whether that can be expressed is for the converter to say.
        target = "token_embd.weight"
    tensor = base.tensors.get(target)
    return tensor.shape if tensor else None


def _check_depth(run: Run, base: Base, blocks: int) -> None:
    """An adapter on the first 28 blocks of 32 has fitting shapes and is wrong all the same."""
    config = run.config
    targets = config.get("target_modules")
    chosen = config.get("layers_to_transform") is not None or config.get("exclude_modules") is not None
    if (
        base.architecture not in UNIFORM
        or not blocks
        or chosen
        or not isinstance(targets, list)
        or any(re.search(r"\.\d+\.", target) for target in targets if isinstance(target, str))
    ):
        return
    names = [module.name for module in run.modules] + [item.name for item in run.trained if item.method in _PER_LAYER]
    touched = {_block(name) for name in names if re.search(r"\.\d+\.", name)}
    if touched and len(touched) < blocks:
        raise _mismatch(run, base, [f"the adapter is on {len(touched)} blocks, the base has {blocks}"], 1, "GS404")


def _mismatch(run: Run, base: Base, wrong: list[str], of: int, rule: str) -> BaseMismatch:
    more = f"\nand {len(wrong) - _SHOWN} more of {of} modules" if len(wrong) > _SHOWN else ""
    named = f"training named {run.base_named}; " if run.base_named else ""
    return BaseMismatch(
        "the adapter was trained on another base",
        where=f"{base.ref} ({base.architecture})\n" + "\n".join(wrong[:_SHOWN]) + more,
        hint=f"{named}pass the right one with --base",
        rule=rule,
    )


def _blocks(base: Base) -> int:
    numbers = [int(match[1]) for name in base.tensors if (match := re.match(r"blk\.(\d+)\.", name))]
    return 1 + max(numbers) if numbers else 0


def _block(name: str) -> int:
    return next((int(part) for part in name.split(".") if part.isdecimal()), 0)


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) if size else "any" for size in shape)
