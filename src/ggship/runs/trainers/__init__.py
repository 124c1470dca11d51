"""Tell which program trained and what it wrote down, from small files beside the adapter; never from pickles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ggship.runs.model import Trainer
from ggship.runs.trainers.axolotl import AXOLOTL
from ggship.runs.trainers.chatglm import CHATGLM
from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.llama_factory import LLAMA_FACTORY
from ggship.runs.trainers.mlx import MLX
from ggship.runs.trainers.reader import Mark, Reader
from ggship.runs.trainers.recorded import merged
from ggship.runs.trainers.swift import SWIFT
from ggship.runs.trainers.torchtune import TORCHTUNE
from ggship.runs.trainers.trl import PEFT, TRL
from ggship.runs.trainers.unsloth import UNSLOTH
from ggship.runs.training import Confidence, Training

__all__ = ["Evidence", "recognise"]

_READERS = (SWIFT, MLX, TORCHTUNE, AXOLOTL, LLAMA_FACTORY, CHATGLM, UNSLOTH, TRL)
_LOWER: Mapping[Confidence, Confidence] = {"high": "medium", "medium": "low", "low": "low"}


def recognise(evidence: Evidence) -> tuple[Trainer | None, Training]:
    """(the trainer, what it wrote down). PEFT where no trainer left a mark; None where PEFT did not either.

    The first reader in order that has a sure mark; one whose own trainer works through another (LLaMA-Factory through
    Unsloth, Unsloth through TRL) comes before that one, whatever its marks. Confidence is high with a sure mark and
    medium without; one less where marks of a trainer are left that has no business there.
    """
    marks = {reader.name: tuple(reader.marks(evidence)) for reader in _READERS}
    left = [reader for reader in _READERS if marks[reader.name]]
    reader = next((reader for reader in left if _leads(reader, left, marks)), None)
    if reader is None:
        return _plain(evidence)
    sure = _sure(marks[reader.name])
    rivals = [other for other in left if other is not reader and other.name not in reader.uses]
    rivals = [other for other in rivals if _sure(marks[other.name]) or not sure]
    confidence: Confidence = "high" if sure else "medium"
    trainer = Trainer(
        reader.name,
        tuple(mark.text for mark in marks[reader.name]),
        reader.version(evidence),
        _LOWER[confidence] if rivals else confidence,
        tuple(f"{marks[rival.name][0].text} ({rival.name})" for rival in rivals),
    )
    return trainer, _training(reader, evidence)


def _plain(evidence: Evidence) -> tuple[Trainer | None, Training]:
    """PEFT wrote the adapter, surely where it left its version; who called it is not known."""
    if not tuple(PEFT.marks(evidence)):
        return None, _training(PEFT, evidence)
    text, version = "adapter_config.json; no other trainer left a mark", PEFT.version(evidence)
    return Trainer(PEFT.name, (text,), version, "high" if version else "medium"), _training(PEFT, evidence)


def _leads(reader: Reader, left: Sequence[Reader], marks: Mapping[str, Sequence[Mark]]) -> bool:
    others = [other for other in left if other is not reader]
    return _sure(marks[reader.name]) or all(
        not _sure(marks[other.name]) or other.name in reader.uses for other in others
    )


def _sure(marks: Sequence[Mark]) -> bool:
    return any(mark.sure for mark in marks)


def _training(reader: Reader, evidence: Evidence) -> Training:
    settings, doubts = merged(reader.settings(evidence))
    return Training(settings, tuple(dict.fromkeys(reader.prompts(evidence))), doubts)
