"""Findings on adapter_config.json, and on the base that it names."""

from __future__ import annotations

from collections.abc import Iterator

from ggship.runs.config import CONFIG_NAME, is_lora
from ggship.runs.findings.catalogue import RULES
from ggship.runs.findings.known import KNOWN_FIELDS
from ggship.runs.findings.model import Finding
from ggship.runs.model import Run

_SHOWN = 5


def what_the_config_says(run: Run) -> Iterator[Finding]:
    """Unknown fields, a rank that is not the tensors', and the base."""
    yield from _unknown_fields(run)
    yield from _rank(run)
    yield from _base(run)


def _unknown_fields(run: Run) -> Iterator[Finding]:
    if "lora_parameters" in run.config:
        return  # mlx-lm writes all settings of the training there
    # What is false, empty or null is PEFT's way to say: not used.
    unknown = sorted(name for name, value in run.config.items() if value and name not in KNOWN_FIELDS)
    if unknown:
        shown = ", ".join(f"{name} is {_value(run.config[name])}" for name in unknown[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        yield RULES["GS102"].found(f"{shown}{more}")


def _value(value: object) -> str:
    text = f"{value!r}"
    return text if len(text) <= 40 else f"{text[:39]}\N{HORIZONTAL ELLIPSIS}"


def _rank(run: Run) -> Iterator[Finding]:
    off = [module for module in run.modules if module.rank_named not in (None, module.rank)]
    if off and is_lora(run.config):
        yield RULES["GS103"].found(
            f"{CONFIG_NAME} says r {off[0].rank_named} for {off[0].name}, the tensors have r {off[0].rank}"
            + (f" (and {len(off) - 1} more modules differ)" if len(off) > 1 else "")
        )


def _base(run: Run) -> Iterator[Finding]:
    if not run.base_named:
        yield RULES["GS406"].found(f"{CONFIG_NAME}: base_model_name_or_path is empty or missing")
        return
    if "bnb" not in run.base_named.lower():
        return
    from ggship.bases.likeness import repository_of, unquantized  # the package around it takes its time

    named = repository_of(run.base_named)[0] or run.base_named.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if unquantized(named) != named:
        yield RULES["GS405"].found(f"training named {named}; its original is {unquantized(named)}")
