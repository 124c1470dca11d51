"""Findings on the trained numbers themselves: reads every tensor once, with numpy."""

from __future__ import annotations

from collections.abc import Iterator

from ggship.convert.tensors import is_zero, tensor_reader
from ggship.errors import AdapterUnusable
from ggship.runs.findings.catalogue import RULES
from ggship.runs.findings.model import Finding
from ggship.runs.model import Run

_SHOWN = 3


def what_the_numbers_say(run: Run) -> Iterator[Finding]:
    """NaN, Inf, and what was never trained. Memory: of one tensor. Raises BadFile where a file ends too early."""
    broken: list[str] = []
    idle: list[str] = []
    with tensor_reader() as reader:
        others = [part for module in run.trained if module.method != "frozen" for part in module.parts.values()]
        for header in dict.fromkeys(others):
            try:
                reader.read(header)
            except AdapterUnusable as error:
                broken.append(error.where)
        for module in run.modules:
            try:
                a_zero, b_zero = (is_zero(reader.read(half)) for half in (module.a, module.b))
            except AdapterUnusable as error:
                broken.append(error.where)
            else:
                idle += [module.name] * (a_zero or b_zero)
    if broken:
        yield RULES["GS207"].found(_some(broken))
    if idle and len(idle) == len(run.modules) and not run.trained:
        yield RULES["GS206"].found(f"all {len(idle)} of them")
    elif idle:
        yield RULES["GS208"].found(f"{len(idle)} of {len(run.modules)}: {_some(idle)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{'; '.join(names[:_SHOWN])}{more}"
