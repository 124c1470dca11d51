"""What one reviewer may see and say. Until all is judged, nothing that leaves here tells which answer is whose.

All cases come in one random order, the same for every reviewer: whoever stops early has read a random sample, and two
who stop early have read the same. Which answer stands first is drawn for each reviewer and case from a secret that
never leaves the store.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ggship.clock import Clock
from ggship.errors import Refused, UsageError
from ggship.evals.humans import MARKS, Item, Judgement, Mark, Preference, Side, items_of
from ggship.evals.marks import Shown, show
from ggship.evals.report import Report
from ggship.evals.review.store import Journal, Reviews
from ggship.evals.review.view import human_rows

A, B, TIE = "A", "B", "tie"
LONGEST_TEXT = 200_000
_FIELDS = {"prefer", "marks", "edits", "comment"}


class Session:
    """One reviewer at the answers of one report."""

    def __init__(self, report: Report, reviews: Reviews, reviewer: str, clock: Clock) -> None:
        self._report = report
        self._reviews = reviews
        self.reviewer = reviewer
        self._clock = clock
        self._secret = reviews.secret()
        unique = {item.key: item for item in items_of(report.cases)}
        self.items: Sequence[Item] = sorted(unique.values(), key=lambda item: self._draw("order", item.key))
        self._turn = threading.RLock()
        self._journal, self._stamp = Journal(), (-1, -1)

    def state(self) -> dict[str, Any]:
        """How far it is. cases: a letter for each, in order: d is done, p is begun, - is not."""
        journal = self._read()
        cases = "".join(_letter(item, _mine(journal, item)) for item in self.items)
        return {
            "subject": self._report.tuned.label,
            "reviewer": self.reviewer,
            "cases": cases,
            "done": cases.count("d"),
            "revealed": self._revealed(journal),
            "can_undo": len(journal.said) > journal.locked,
        }

    def case(self, number: int) -> dict[str, Any]:
        """The case of that number, from 0, and what this reviewer said of it."""
        item = self._item(number)
        journal = self._read()
        mine = _mine(journal, item)
        told: dict[str, Any] = {
            "number": number,
            "id": item.id,
            "turns": [{"role": turn["role"], **_shown(turn["content"])} for turn in item.messages],
            "answers": [_shown(self.answer(number, place)) for place in (A, B)[: item.sides]],
            "alike": item.alike,
            "mine": self._as_seen(item, mine),
            "final": item.key in journal.final,
        }
        if self._revealed(journal):
            sides = (self._left(item), _other(self._left(item)))
            told["whose"] = [self._name(side) for side in sides[: item.sides]] if not item.alike else ["both"]
        return told

    def answer(self, number: int, place: str) -> str:
        """The whole answer that stands at A or B of that case."""
        item = self._item(number)
        if place not in (A, B)[: item.sides]:
            raise UsageError(f"this case has no answer {place}")
        return item.tuned if item.sides == 1 or self._side(item, place) == "tuned" else item.base or ""

    def judge(self, number: int, said: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what the reviewer says of that case, in place of what they said of it before.

        said: prefer (A, B, tie or null), marks and edits (by A and B), comment. UsageError where it is not that,
        Refused where the reviewer already knows which answer is whose.
        """
        item = self._item(number)
        with self._turn:
            journal = self._read()
            if item.key in journal.final:
                raise Refused("you have seen which answer is whose, so what you said of this case is final")
            judgement = self._judgement(item, said)
            mine = _mine(journal, item)
            if mine is None or not _same(mine, judgement):
                self._reviews.add(judgement)
            return {"state": self.state(), "case": self.case(number)}

    def undo(self) -> dict[str, Any]:
        """Take back the last thing that was said, and give its case."""
        with self._turn:
            before = self._read()
            if len(before.said) <= before.locked:
                raise Refused("there is nothing to take back")
            last = before.said[-1]
            self._reviews.take_back(self.reviewer, self._now())
            number = next((n for n, item in enumerate(self.items) if item.key == last.key), 0)
            return {"state": self.state(), "case": self.case(number)}

    def reveal(self) -> dict[str, Any]:
        """Say which answers were whose, and what came of it. Refused before all is judged; final afterwards."""
        with self._turn:
            journal = self._read()
            if not all(_letter(item, _mine(journal, item)) == "d" for item in self.items):
                raise Refused("judge every case first: whoever knows whose an answer is judges it otherwise")
            if not self._revealed(journal):
                self._reviews.reveal(self.reviewer, self._now())
            return {"state": self.state(), "rows": self.rows()}

    def rows(self) -> list[tuple[str, str]]:
        """The figures for people. Refused before the reviewer has asked to be told whose the answers are."""
        if not self.revealed:
            raise Refused("judge every case first: whoever knows whose an answer is judges it otherwise")
        return human_rows(self._reviews.humans(self._report.cases), self._report.rival_name)

    @property
    def revealed(self) -> bool:
        """Whether the reviewer knows which answers are whose."""
        return self._revealed(self._read())

    def first_of(self, conversation: str) -> Side:
        """Which model speaks first in a conversation of the chat: drawn anew for each."""
        return "tuned" if self._draw("chat", self.reviewer, conversation)[0] & 1 else "base"

    def _judgement(self, item: Item, said: Mapping[str, Any]) -> Judgement:
        if set(said) != _FIELDS:
            raise UsageError(f"a judgement has {', '.join(sorted(_FIELDS))}")
        marks, edits = _by_place(said, "marks", item), _by_place(said, "edits", item)
        prefer = said["prefer"]
        if prefer not in (None, A, B, TIE) or (prefer is not None and item.sides == 1):
            raise UsageError("one answer is preferred, or neither")
        found: dict[str, Any] = {}
        for place, side in ((A, self._side(item, A)), (B, self._side(item, B)))[: item.sides]:
            text = item.tuned if side == "tuned" else item.base or ""
            found[f"{side}_mark"], found[f"{side}_edit"] = _mark(marks.get(place), edits.get(place), text)
        preferred: Preference | None = prefer if prefer in (None, TIE) else self._side(item, prefer)
        return Judgement(
            reviewer=self.reviewer,
            case=item.id,
            question=item.question,
            tuned=item.tuned_digest,
            base=item.base_digest,
            prefer=preferred,
            comment=_text(said["comment"]).strip(),
            left=self._left(item),
            at=self._now(),
            **found,
        )

    def _as_seen(self, item: Item, mine: Judgement | None) -> dict[str, Any]:
        if mine is None:
            return {"prefer": None, "marks": {}, "edits": {}, "comment": ""}
        places = [(place, self._side(item, place)) for place in (A, B)[: item.sides]]
        marks = {"tuned": mine.tuned_mark, "base": mine.base_mark}
        edits = {"tuned": mine.tuned_edit, "base": mine.base_edit}
        prefer = mine.prefer
        return {
            "prefer": prefer if prefer in (None, TIE) else next(place for place, side in places if side == prefer),
            "marks": {place: marks[side] for place, side in places if marks[side]},
            "edits": {place: edits[side] for place, side in places if edits[side]},
            "comment": mine.comment,
        }

    def _revealed(self, journal: Journal) -> bool:
        """Whether every case that can be read now was judged before the reviewer was told."""
        return bool(self.items) and all(item.key in journal.final for item in self.items)

    def _left(self, item: Item) -> Side:
        if item.sides == 1:
            return "tuned"
        return "tuned" if self._draw("side", self.reviewer.casefold(), item.key)[0] & 1 else "base"

    def _side(self, item: Item, place: str) -> Side:
        return self._left(item) if place == A else _other(self._left(item))

    def _name(self, side: Side) -> str:
        return "tuned" if side == "tuned" else self._report.rival_name

    def _item(self, number: int) -> Item:
        if not 0 <= number < len(self.items):
            raise UsageError(f"there is no case {number}")
        return self.items[number]

    def _draw(self, *about: str) -> bytes:
        return hmac.new(self._secret, "\x00".join(about).encode(), hashlib.sha256).digest()

    def _read(self) -> Journal:
        with self._turn:  # another process of the same reviewer may write too
            stamp = self._reviews.stamp(self.reviewer)
            if stamp != self._stamp:
                self._journal, self._stamp = self._reviews.read(self.reviewer), stamp
            return self._journal

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")


def _letter(item: Item, mine: Judgement | None) -> str:
    if mine is None or not (mine.tuned_mark or mine.base_mark or mine.prefer or mine.comment):
        return "-"
    return "d" if mine.whole(item) else "p"


def _mine(journal: Journal, item: Item) -> Judgement | None:
    return journal.latest.get(item.key)


def _same(one: Judgement, other: Judgement) -> bool:
    return replace(one, at="", case="") == replace(other, at="", case="")


def _other(side: Side) -> Side:
    return "base" if side == "tuned" else "tuned"


def _by_place(said: Mapping[str, Any], name: str, item: Item) -> Mapping[str, Any]:
    values = said[name]
    if not isinstance(values, dict) or not set(values) <= set((A, B)[: item.sides]):
        raise UsageError(f"{name} are by answer")
    return values


def _mark(mark: Any, edit: Any, answer: str) -> tuple[Mark | None, str]:
    if mark not in (None, *MARKS):
        raise UsageError(f"a mark is one of {', '.join(MARKS)}")
    if mark != "edit":
        return mark, ""
    text = _text(edit)
    if not text.strip() or text.strip() == answer.strip():
        raise UsageError("an edited answer is another than the one that was given, and not empty")
    return "edit", text


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise UsageError(f"texts have at most {LONGEST_TEXT} characters")
    return value.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no text


def _shown(text: str) -> dict[str, Any]:
    """A text in pieces for the page: [text, whether it stands for a character that cannot be seen]."""
    shown: Shown = show(text)
    return {"pieces": [[piece.text, piece.odd] for piece in shown.pieces], "left_out": shown.left_out}
