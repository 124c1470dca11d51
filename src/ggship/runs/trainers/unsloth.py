"""Unsloth: its patched names in adapter_config.json, its tag, its quantized bases (unsloth_zoo: hf_utils.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.hugging_face import card_settings, state_settings
from ggship.runs.trainers.reader import Mark, Reader, short
from ggship.runs.training import Setting

_BASE = re.compile(r"unsloth/[\w.-]{1,120}-bnb-4bit", re.IGNORECASE)
# What get_peft_regex writes into target_modules begins so (unsloth_zoo/peft_utils.py).
_TARGETS = "(?:.*?(?:vision|image|visual|patch|language|text).*?(?:self_attn|attention|attn"


def _marks(evidence: Evidence) -> Iterator[Mark]:
    mapping = evidence.config.get("auto_mapping")
    if isinstance(mapping, dict) and mapping.get("unsloth_fixed"):
        yield Mark("adapter_config.json has unsloth_fixed")
    targets = evidence.config.get("target_modules")
    if isinstance(targets, str) and targets.startswith(_TARGETS):
        yield Mark("target_modules is a pattern of Unsloth's")
    if "unsloth" in evidence.tags:
        yield Mark("README.md has the tag unsloth", sure=False)
    base = evidence.config.get("base_model_name_or_path")
    if isinstance(base, str) and _BASE.fullmatch(base):
        yield Mark(f"the base is {base}", sure=False)
    if _version(evidence):
        yield Mark("config.json has unsloth_version", sure=False)


def _version(evidence: Evidence) -> str:
    return short(evidence.json("config.json").get("unsloth_version"))


def _settings(evidence: Evidence) -> Iterator[Iterator[Setting]]:
    yield card_settings(evidence)
    yield state_settings(evidence)


UNSLOTH = Reader("Unsloth", _marks, version=_version, settings=_settings, uses=frozenset(("TRL",)))
