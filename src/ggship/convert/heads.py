"""Bases whose output head is their embedding (tied weights): where training parted the two, the merged model has both.

llama.cpp takes output.weight where a file has it, and the embedding where it has not. PEFT's layers on `embed_tokens`
change the look-up of tokens alone and those on `lm_head` the head alone, although the base has one weight for both
(tuners/tuners_utils.py, _check_tied_modules, warns of it), unless `ensure_weight_tying` tied them. Rows of single
tokens are replaced in both, unless the head has rows of its own (utils/other.py, set_additional_trainable_modules).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ggship.bases.model import Base
from ggship.convert.layout import READS_A_HEAD
from ggship.convert.sources import AdapterTensors
from ggship.errors import NotExpressible
from ggship.gguf.updates.model import TensorUpdate, Update
from ggship.runs.model import LoraModule, Run, TensorHeader

EMBEDDING, HEAD = "token_embd.weight", "output.weight"
_COMPARED_BYTES = 1 << 22


class Change(Protocol):
    """What becomes of one tensor. by: the module that changes it; keeps_tied: the head changes with the embedding."""

    name: str
    shape: tuple[int, ...]
    by: str
    keeps_tied: bool

    def make(self, matrix: int) -> Update | None:
        """The update of one matrix."""
        ...


def with_own_head(
    changes: Mapping[str, Change], run: Run, base: Base, tied: bool, tensors: AdapterTensors
) -> tuple[TensorUpdate, ...]:
    """The changes as updates, with a head of its own where the base is tied and training changed one of the two alone.

    Raises NotExpressible where llama.cpp takes the embedding as head, whatever the file has.
    """
    embedding, head = changes.get(EMBEDDING), changes.get(HEAD)
    if not tied or (embedding is None and head is None):
        return tuple(_update(change, base) for change in changes.values())
    names = [name for name in changes if name != HEAD]
    updates = [_update(changes[name], base) for name in names]
    if embedding is not None and _together(embedding, head, run, tensors):
        return tuple(updates)
    alone = head or embedding
    assert alone is not None
    if base.architecture not in READS_A_HEAD:
        raise NotExpressible(
            "training changed the embedding or the output head alone, and this base has one tensor for both",
            where=f"{alone.by}: llama.cpp has no head of its own for {base.architecture}",
            hint="train again without embed_tokens and lm_head, or with ensure_weight_tying=True",
            code="tied",
        )
    return (*updates, TensorUpdate(HEAD, alone.shape, head.make if head else None, EMBEDDING))


def _update(change: Change, base: Base) -> TensorUpdate:
    return TensorUpdate(change.name, change.shape, change.make, None if change.name in base.tensors else "")


def _together(embedding: Change, head: Change | None, run: Run, tensors: AdapterTensors) -> bool:
    """Whether the head is to become what the embedding becomes."""
    asked = run.config.get("ensure_weight_tying") is True
    if head is None:
        return asked or embedding.keeps_tied
    if not asked:
        return False
    pairs = {module.name: module for module in run.modules}
    if embedding.by in pairs and head.by in pairs:
        return _same_pair(pairs[embedding.by], pairs[head.by], tensors)
    saved = {module.name: module.parts.get("weight") for module in run.trained if module.method == "saved"}
    first, second = saved.get(embedding.by), saved.get(head.by)
    return first is not None and second is not None and _same_bytes(first, second)


def _same_pair(embedding: LoraModule, head: LoraModule, tensors: AdapterTensors) -> bool:
    if embedding.scale != head.scale or embedding.rank != head.rank:
        return False
    same_a = np.array_equal(tensors.read(head.a), tensors.read(embedding.b).T)
    return same_a and np.array_equal(tensors.read(head.b), tensors.read(embedding.a).T)


def _same_bytes(first: TensorHeader, second: TensorHeader) -> bool:
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    with first.file.open("rb") as left, second.file.open("rb") as right:
        for at in range(0, first.nbytes, _COMPARED_BYTES):
            count = min(_COMPARED_BYTES, first.nbytes - at)
            one = os.pread(left.fileno(), count, first.offset + at)
            if one != os.pread(right.fileno(), count, second.offset + at):
                return False
    return True
