"""Which questions stand in the training data: the same after normalisation, or nearly the same."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from ggship.evals.datasets.model import Broken, Example, Item

NEAR = 0.9
"""The similarity from which two questions count as nearly the same: rapidfuzz's ratio of the normalised texts."""
_GRAM = 3
_SHARED = 0.2  # of a question's grams: with fewer in common, two texts are under 0.8 alike and are not compared


def normalised(text: str) -> str:
    """Letters and digits alone, in one width and case: what is left when typing habits are taken away."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum()) or folded.strip()


def question_key(example: Example) -> str:
    """What the user says in the whole conversation, normalised."""
    return normalised("\n".join(example.questions))


@dataclass(frozen=True, slots=True)
class Match:
    """A question of the training data that is like one of ours. similarity: 0..1, 1 where it is the same."""

    line: int
    similarity: float

    @property
    def exact(self) -> bool:
        """Whether it is the same question after normalisation."""
        return self.similarity == 1.0


class Overlap:
    """Questions of ours, held against training data as it goes by. near: from which similarity on a match counts.

    Only the questions in `closely` are compared for nearness; all are for equality. Memory grows with our questions,
    never with the training data.
    """

    def __init__(self, keys: Sequence[str], closely: Iterable[str], near: float) -> None:
        self._near = near
        self._keys = set(keys)
        self._closely = tuple(dict.fromkeys(closely))
        self._grams: dict[str, list[int]] = defaultdict(list)
        self._needed = [0.0] * len(self._closely)
        for number, key in enumerate(self._closely):
            grams = set(_grams(key))
            self._needed[number] = max(1.0, _SHARED * len(grams))
            for gram in grams:
                self._grams[gram].append(number)
        self.found: dict[str, Match] = {}
        self.rows = 0
        self.broken: list[Broken] = []

    def look(self, rows: Iterable[Item]) -> None:
        """Hold every row of training data against the questions."""
        for row in rows:
            if isinstance(row, Broken):
                self.broken.append(row)
                continue
            self.rows += 1
            whole = question_key(row)
            for key in dict.fromkeys((whole, *(normalised(said) for said in row.questions))):
                self._compare(key, row.line)

    def _compare(self, key: str, line: int) -> None:
        if key in self._keys:
            self._note(key, Match(line, 1.0))
        shared = Counter(number for gram in set(_grams(key)) for number in self._grams.get(gram, ()))
        for number, count in shared.items():
            ours = self._closely[number]
            if count < self._needed[number] or ours == key:
                continue
            alike = fuzz.ratio(ours, key, score_cutoff=100 * self._near) / 100
            if alike:
                self._note(ours, Match(line, min(alike, 0.9999)))

    def _note(self, key: str, match: Match) -> None:
        if key not in self.found or self.found[key].similarity < match.similarity:
            self.found[key] = match


def _grams(key: str) -> Iterator[str]:
    if len(key) < _GRAM:
        yield key
    for start in range(len(key) - _GRAM + 1):
        yield key[start : start + _GRAM]
