"""Say whether an adapter fits a base: every module has its weight there, of the right shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ggship.bases.dimensions import UNIFORM, Dimensions, from_metadata
from ggship.bases.model import Base
from ggship.errors import BaseMismatch, GgshipError
from ggship.runs.model import LoraModule, Run

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Fit:
    """targets: module -> the base's weight in GGUF. exact: whether shapes were compared with the weights themselves.

    Otherwise they were compared with the base's dimensions, and `unknown` modules not at all.
    """

    architecture: str
    targets: Mapping[str, str]
    exact: bool
    unknown: int = 0


def check_fit(run: Run, base: Base) -> Fit:
    """Hold every module of the adapter against the base. Headers only.

    Raises BaseMismatch with the first differences, how many more there are, and the base that training named.
    """
    from ggship.convert.names import map_module

    dimensions = from_metadata(base.architecture, base.metadata)
    blocks = dimensions.blocks or _blocks(base) or 1 + max(map(_block, run.modules), default=0)
    targets: dict[str, str] = {}
    wrong: list[str] = []
    unknown = 0
    for module in run.modules:
        # A pair of a single expert: in GGUF the experts of a layer are one tensor.
        target = map_module(base.architecture, blocks, re.sub(r"\.experts\.\d+\.", ".experts.", module.name))
        shape = _shape(base, dimensions, target) if target else None
        if target is None or (base.tensors and shape is None):
            wrong.append(f"{module.name}: adapter {_text(module.base_shape)}, no such weight in the base")
        elif shape is not None and shape[-2:] != module.base_shape:
            wrong.append(f"{module.name}: adapter {_text(module.base_shape)}, base {_text(shape)}")
        else:
            targets[module.name] = target
            unknown += shape is None
    if wrong:
        raise _mismatch(run, base, wrong)
    _check_depth(run, base, dimensions.blocks or _blocks(base))
    return Fit(base.architecture, targets, bool(base.tensors), unknown)


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
    touched = {_block(module) for module in run.modules if re.search(r"\.\d+\.", module.name)}
    if touched and len(touched) < blocks:
        raise _mismatch(run, base, [f"the adapter is on {len(touched)} blocks, the base has {blocks}"])


def _mismatch(run: Run, base: Base, wrong: list[str]) -> BaseMismatch:
    more = f"\nand {len(wrong) - _SHOWN} more of {len(run.modules)} modules" if len(wrong) > _SHOWN else ""
    named = f"training named {run.base_named}; " if run.base_named else ""
    return BaseMismatch(
        "the adapter was trained on another base",
        where=f"{base.ref} ({base.architecture})\n" + "\n".join(wrong[:_SHOWN]) + more,
        hint=f"{named}pass the right one with --base",
    )


def _blocks(base: Base) -> int:
    numbers = [int(match[1]) for name in base.tensors if (match := re.match(r"blk\.(\d+)\.", name))]
    return 1 + max(numbers) if numbers else 0


def _block(module: LoraModule) -> int:
    return next((int(part) for part in module.name.split(".") if part.isdecimal()), 0)


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
