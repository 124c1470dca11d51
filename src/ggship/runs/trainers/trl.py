"""TRL, and PEFT by itself: model cards with versions, the state of the Trainer, and nothing of the prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.hugging_face import card_settings, state_settings
from ggship.runs.trainers.reader import Mark, Reader, short
from ggship.runs.training import Setting


def _trl_marks(evidence: Evidence) -> Iterator[Mark]:
    if "It has been trained using [TRL]" in evidence.readme or _framework(evidence, "TRL"):
        yield Mark("README.md says so")
    elif "trl" in evidence.tags:
        yield Mark("README.md has the tag trl", sure=False)


def _peft_marks(evidence: Evidence) -> Iterator[Mark]:
    if "peft_type" in evidence.config:
        yield Mark("adapter_config.json", sure=False)


def _settings(evidence: Evidence) -> Iterator[Iterator[Setting]]:
    yield card_settings(evidence)
    yield state_settings(evidence)


def _framework(evidence: Evidence, name: str) -> str:
    match = re.search(rf"^[ \t]{{0,8}}- {name}:? (\S{{1,40}})[ \t]{{0,8}}$", evidence.readme, re.MULTILINE)
    return match[1] if match else ""


def _peft_version(evidence: Evidence) -> str:
    return short(evidence.config.get("peft_version")) or _framework(evidence, "PEFT")


TRL = Reader("TRL", _trl_marks, version=lambda evidence: _framework(evidence, "TRL"), settings=_settings)
PEFT = Reader("PEFT", _peft_marks, version=_peft_version, settings=_settings)
