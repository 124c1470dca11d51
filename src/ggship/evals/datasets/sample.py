"""A sample of a data set, the same each time, in memory that depends on the sample alone."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ggship.errors import UsageError
from ggship.evals.datasets.model import Broken, Example, Item
from ggship.evals.datasets.overlap import Match, Overlap, question_key

HELD_OUT, TRAINED, ALL = "held-out", "trained", "all"
SPLITS = (HELD_OUT, TRAINED, ALL)
_POOL = 8  # times what is taken: enough where most rows are of the split that is wanted
_LEAST = 400
MOST = 50_000
"""Rows kept at once; where all of them are of the other split, more looking would not help."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An example that was taken, and where the training data has it, if it does."""

    example: Example
    trained: Match | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What was taken of a data set, in the order of the file, and all there is to tell of it.

    rows: examples there are. left_out: how many were passed over for being, or not being, in the training data; each
    with its match. training_rows: None where no training data was given.
    """

    chosen: tuple[Chosen, ...]
    rows: int
    broken: tuple[Broken, ...]
    left_out: tuple[Chosen, ...] = ()
    training_rows: int | None = None
    training_broken: tuple[Broken, ...] = ()
    near: float = 0.0
    wanted: int = 0
    split: str = HELD_OUT

    def remarks(self) -> list[str]:
        """What the user should know, a line each."""
        said = []
        if self.training_rows is None and self.split == HELD_OUT:
            said.append("nothing says which rows were trained on: --train FILE finds those that were")
        if self.left_out and self.split == HELD_OUT:
            exact = sum(one.trained is not None and one.trained.exact for one in self.left_out)
            first = self.left_out[0]
            where = f"line {first.example.line} is line {first.trained.line} there" if first.trained else ""
            said.append(
                f"left out, since they stand in the training data: {exact} the same, {len(self.left_out) - exact} at "
                f"least {self.near:g} alike ({where})"
            )
        if self.split == ALL and (seen := [one for one in self.chosen if one.trained]):
            said.append(f"{len(seen)} of the questions stand in the training data: their tests have the tag `trained`")
        if len(self.chosen) < self.wanted:
            said.append(f"only {len(self.chosen)} different questions were found, {self.wanted} were wanted")
        return said

    def document(self) -> dict[str, Any]:
        """The sample for programs: lines, and where the training data has them."""
        return {
            "questions": self.rows,
            "taken": [_told(one) for one in self.chosen],
            "left_out": [_told(one) for one in self.left_out],
            "broken": [_place_of(row) for row in self.broken],
            "training_rows": self.training_rows,
            "training_broken": [_place_of(row) for row in self.training_broken],
            "near": self.near,
            "remarks": self.remarks(),
        }


def _told(one: Chosen) -> dict[str, Any]:
    match = one.trained
    trained = {"line": match.line, "similarity": round(match.similarity, 4)} if match else None
    return {"line": one.example.line, "trained": trained}


def _place_of(row: Broken) -> dict[str, Any]:
    return {"line": row.line, "last": row.last, "reason": row.reason}


def take_sample(
    dataset: Iterable[Item],
    *,
    take: int,
    seed: int = 42,
    split: str = HELD_OUT,
    training: Sequence[Iterable[Item]] = (),
    near: float,
) -> Sample:
    """`take` examples with different questions, of that split.

    Each question has a place by the hash of seed and normalised text, and the first places are taken: the order of the
    rows, and rows added elsewhere, change nothing for the others. Data sets are gone through once or a few times.
    """
    if split == TRAINED and not training:
        raise UsageError("which rows were trained on is not known", hint="name the training data with --train FILE")
    size = max(_LEAST, take * _POOL)
    while True:
        pool = _pool(dataset, min(size, MOST), seed)
        sample = _choose(pool, take, split, training, near)
        if len(sample.chosen) >= take or len(pool.examples) < size or size >= MOST:
            return sample
        size *= 8


@dataclass(slots=True)
class _Pool:
    """The examples with the first places, in that order; what else was seen."""

    examples: list[Example] = field(default_factory=list)
    rows: int = 0
    broken: list[Broken] = field(default_factory=list)


def _pool(dataset: Iterable[Item], size: int, seed: int) -> _Pool:
    pool = _Pool()
    heap: list[tuple[int, int]] = []  # (minus the place, line): the last place is on top
    kept: dict[int, Example] = {}
    for item in dataset:
        if isinstance(item, Broken):
            pool.broken.append(item)
            continue
        pool.rows += 1
        place = _place(question_key(item), seed)
        if place in kept or (len(heap) >= size and place > -heap[0][0]):
            continue
        kept[place] = item
        heapq.heappush(heap, (-place, item.line))
        if len(heap) > size:
            del kept[-heapq.heappop(heap)[0]]
    pool.examples = [kept[place] for place in sorted(kept)]
    return pool


def _place(key: str, seed: int) -> int:
    text = f"{seed}\n{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _choose(pool: _Pool, take: int, split: str, training: Sequence[Iterable[Item]], near: float) -> Sample:
    """The first `take` of the pool that are of the split. Nearness is looked for in as few of them as will do."""
    keys = [question_key(example) for example in pool.examples]
    found: dict[str, Match] = {}
    looked, rows = 0, 0
    broken: list[Broken] = []
    while training and looked < len(keys):
        window = max(2 * take, 2 * looked)
        overlap = Overlap(keys, [key for key in keys[looked : looked + window] if key not in found], near)
        for dataset in training:
            overlap.look(dataset)
        found.update({key: match for key, match in overlap.found.items() if key not in found})
        looked += window
        rows, broken = overlap.rows, overlap.broken
        if sum(_wanted(split, found.get(key)) for key in keys[:looked]) >= take:
            break
    judged = [Chosen(example, found.get(key)) for example, key in zip(pool.examples, keys, strict=True)]
    taken = [one for one in judged if _wanted(split, one.trained)][:take]
    last = judged.index(taken[-1]) if len(taken) == take else len(judged)
    left_out = [one for one in judged[:last] if not _wanted(split, one.trained)]
    return Sample(
        chosen=tuple(sorted(taken, key=lambda one: one.example.line)),
        rows=pool.rows,
        broken=tuple(pool.broken),
        left_out=tuple(sorted(left_out, key=lambda one: one.example.line)),
        training_rows=rows if training else None,
        training_broken=tuple(broken),
        near=near,
        wanted=take,
        split=split,
    )


def _wanted(split: str, match: Match | None) -> bool:
    return split == ALL or (match is not None) is (split == TRAINED)
