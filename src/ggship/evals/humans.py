"""What people found who read the answers: their judgements as values, and the figures over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from ggship.digests import digest_of
from ggship.evals.agreement import cohen_kappa, enough
from ggship.evals.report import Agreement, CaseReport, Humans, Rate, Result, Reviewer
from ggship.evals.stats import wilson
from ggship.runtimes.model import Message

Mark = Literal["accept", "edit", "reject"]
Side = Literal["tuned", "base"]
Preference = Literal["tuned", "base", "tie"]
MARKS: tuple[Mark, ...] = ("accept", "edit", "reject")


@dataclass(frozen=True, slots=True)
class Item:
    """One case as people read it: the conversation and what each model said. base: None where it said nothing.

    question, tuned_digest and base_digest are sha256 of what was read: a judgement holds for these texts and no others.
    """

    id: str
    messages: tuple[Message, ...]
    tuned: str
    base: str | None
    question: str
    tuned_digest: str
    base_digest: str | None

    @property
    def key(self) -> str:
        """The same for the same texts, whatever the case is called."""
        return f"{self.question}/{self.tuned_digest}/{self.base_digest or ''}"

    @property
    def alike(self) -> bool:
        """Whether both said the same: then there is nothing to choose."""
        return self.base is not None and self.base.strip() == self.tuned.strip()

    @property
    def sides(self) -> int:
        """How many answers there are to be read: 1 or 2."""
        return 1 if self.base is None or self.alike else 2


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one person said of one case. question, tuned and base: the digests of what they read.

    A mark is accept (good as it is), edit (good once it is changed to `..._edit`) or reject; None: not said yet.
    left: which model's answer stood first. at: ISO 8601, UTC.
    """

    reviewer: str
    case: str
    question: str
    tuned: str
    base: str | None
    prefer: Preference | None = None
    tuned_mark: Mark | None = None
    base_mark: Mark | None = None
    tuned_edit: str = ""
    base_edit: str = ""
    comment: str = ""
    left: Side = "tuned"
    at: str = ""

    @property
    def key(self) -> str:
        """The key of the item that it is about."""
        return f"{self.question}/{self.tuned}/{self.base or ''}"

    def of(self, item: Item) -> bool:
        """Whether it is about the answer that the tuned model gave there."""
        return (self.question, self.tuned) == (item.question, item.tuned_digest)

    def of_pair(self, item: Item) -> bool:
        """Whether it is about both answers."""
        return self.of(item) and self.base == item.base_digest

    def whole(self, item: Item) -> bool:
        """Whether all is said that can be said of this case."""
        if not self.of_pair(item) or self.tuned_mark is None:
            return False
        return item.sides == 1 or (self.base_mark is not None and self.prefer is not None)


def said(result: Result) -> str:
    """What a model said, as people read it: its words, and the tools that it called."""
    calls = [f"[calls {call['function']['name']} {call['function']['arguments']}]" for call in result.tool_calls]
    return "\n".join([result.text, *calls] if result.text or not calls else calls)


def items_of(cases: Sequence[CaseReport]) -> tuple[Item, ...]:
    """The cases that people can read: those in which the tuned model answered, in the order of the suite."""
    return tuple(_item(case) for case in cases if _answered(case.tuned))


def humans(cases: Sequence[CaseReport], judgements: Sequence[Judgement]) -> Humans:
    """The figures over these answers. Judgements of other answers to the same questions are counted as such, no more.

    judgements: oldest first; of one person's on one case the last one holds. Each case counts once, however many read
    it: its share is the mean over its readers, a rate the mean over the cases, and its interval Wilson's over cases.
    Law: accept + edit + reject == 1.
    """
    items = items_of(cases)
    latest = _Latest(items, judgements)
    marks = latest.each(lambda one, item: one.tuned_mark if one.of(item) else None)
    base_marks = latest.each(lambda one, item: (one.base_mark or _shared(one, item)) if one.of_pair(item) else None)
    preferences = latest.each(lambda one, item: one.prefer if one.of_pair(item) and item.sides == 2 else None)
    read = [item.key for item in items if marks[item.key]]
    wins = {key: [_WIN[value] for value in by.values()] for key, by in preferences.items() if by}
    wins |= {item.key: [0.5] for item in items if item.alike and marks[item.key]}
    return Humans(
        cases=len(items),
        read=len(read),
        reviewers=tuple(
            Reviewer(name, sum(name in marks[item.key] for item in items)) for name in latest.reviewers(marks)
        ),
        accept=_share(marks, "accept"),
        edit=_share(marks, "edit"),
        reject=_share(marks, "reject"),
        base_accept=_share(base_marks, "accept"),
        prefer_tuned=_rate([sum(each) / len(each) for each in wins.values()]),
        pairs=sum(item.base is not None for item in items),
        preferred=len(wins),
        agreement=_agreement(marks, len(items)),
        preference_agreement=_agreement(preferences, sum(item.sides == 2 for item in items)),
        of_other_answers=latest.other,
    )


_WIN: Mapping[str, float] = {"tuned": 1.0, "tie": 0.5, "base": 0.0}
_Said = dict[str, dict[str, str]]  # item key -> reviewer -> what they said


class _Latest:
    """The judgements that count, by item and reviewer."""

    def __init__(self, items: Sequence[Item], judgements: Sequence[Judgement]) -> None:
        self._items = items
        self._by_question: dict[str, list[Judgement]] = {}
        for one in judgements:
            self._by_question.setdefault(one.question, []).append(one)
        known = {(item.question, item.tuned_digest) for item in items}
        questions = {item.question for item in items}
        others = {
            (one.reviewer, one.question, one.tuned)
            for one in judgements
            if one.question in questions and (one.question, one.tuned) not in known and one.tuned_mark
        }
        self.other = len(others)

    def each(self, value: Callable[[Judgement, Item], str | None]) -> _Said:
        """What each said of each item, by `value` of their last judgement that has one."""
        found: _Said = {}
        for item in self._items:
            by = found[item.key] = {}
            for one in self._by_question.get(item.question, ()):
                if not one.of(item):
                    continue
                given = value(one, item)
                if given is not None:
                    by[one.reviewer] = given
                elif one.of_pair(item):  # taken back
                    by.pop(one.reviewer, None)
        return found

    def reviewers(self, said_of: _Said) -> list[str]:
        """Everybody who said something, sorted."""
        return sorted({name for by in said_of.values() for name in by})


def _shared(one: Judgement, item: Item) -> Mark | None:
    """Where both answers are the same, the mark of one is that of the other."""
    return one.tuned_mark if item.alike else None


def _answered(result: Result) -> bool:
    return result.outcome != "error" or bool(result.finish)


def _item(case: CaseReport) -> Item:
    tuned = said(case.tuned)
    base = said(case.base) if case.base is not None and _answered(case.base) else None
    messages: list[Any] = [dict(message) for message in case.messages]
    return Item(
        id=case.id,
        messages=case.messages,
        tuned=tuned,
        base=base,
        question=digest_of({"messages": messages}),
        tuned_digest=digest_of({"answer": tuned}),
        base_digest=None if base is None else digest_of({"answer": base}),
    )


def _share(said_of: _Said, what: str) -> Rate | None:
    return _rate([sum(value == what for value in by.values()) / len(by) for by in said_of.values() if by])


def _rate(shares: Sequence[float]) -> Rate | None:
    if not shares:
        return None
    rate = min(sum(shares) / len(shares), 1.0)
    return Rate(rate, wilson(rate, len(shares)))


def _agreement(said_of: _Said, of: int) -> Agreement | None:
    """Cohen's kappa of two, the mean of it over all pairs of more; of those pairs who read enough of the same."""
    reviewers = sorted({name for by in said_of.values() for name in by})
    kappas, same, together = [], 0, 0
    for left, right in combinations(reviewers, 2):
        pairs = [(by[left], by[right]) for by in said_of.values() if left in by and right in by]
        kappa = cohen_kappa(pairs) if len(pairs) >= enough(of) else None
        if kappa is not None:
            kappas.append(kappa)
            same += sum(one == other for one, other in pairs)
            together += len(pairs)
    if not kappas:
        return None
    method = "Cohen's kappa" if len(kappas) == 1 else f"mean of {len(kappas)} pairwise Cohen's kappas"
    return Agreement(method, sum(kappas) / len(kappas), same / together, together)
