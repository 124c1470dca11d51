"""Findings on what no adapter in GGUF can hold, each with the way that it takes instead."""

from __future__ import annotations

from collections.abc import Iterator

from ggship.runs.findings.catalogue import OBSTACLES, RULES
from ggship.runs.findings.model import Finding
from ggship.runs.model import Run
from ggship.runs.obstacles import Obstacle, obstacles

_BY_PEFT = "PEFT must merge it into the base's own weights, which needs ggship[hf] and those weights as a directory."
_REFUSED = "Nothing that ggship makes would be the trained model, so it is refused (exit code 4)."


def what_stands_in_the_way(run: Run) -> Iterator[Finding]:
    """A finding for each obstacle: a note where a merge carries it, an error where nothing does."""
    found = obstacles(run)
    yield from map(_of, found)
    if found:
        return
    if run.modules and run.config.get("lora_alpha") == 0:
        yield RULES["GS104"].found("adapter_config.json: lora_alpha is 0")
    if not run.modules:
        yield RULES["GS205"].found(f"{len(run.tensors)} tensors, and no LoRA pair among them")
    tokens = run.config.get("alora_invocation_tokens") or run.config.get("invocation_string")
    if tokens:
        yield RULES["GS314"].found(f"adapter_config.json: its invocation tokens are {tokens!s:.60}")


def _of(obstacle: Obstacle) -> Finding:
    rule = RULES[OBSTACLES[obstacle.code]]
    if obstacle.way == "merge":
        return rule.found(obstacle.what, level="note")
    if obstacle.way == "peft":
        return rule.found(obstacle.what, level="note", consequence=_BY_PEFT, fix=obstacle.remedy)
    return rule.found(
        obstacle.what,
        level="error",
        consequence=rule.consequence if rule.level == "error" else _REFUSED,
        fix=obstacle.remedy or (rule.fix if rule.level == "error" else "Train it again without."),
    )
