"""A report with answers to read, and a reviewer who judges by what the answers say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ggship.evals import Report
from ggship.evals.review.session import Session
from ggship.evals.review.store import Reviews


class Still:
    """A clock that stands."""

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=timezone.utc)

    def sleep(self, seconds: float) -> None:
        return None


@pytest.fixture
def answers(run: Any, scripted: Any, suite: Any) -> Callable[..., Report]:
    """answers(n): a report of n questions; the trained model says "good n", its base "poor n", both "same" to same."""

    def make(count: int = 4, *, same: bool = False, base: bool = True, retrained: int = 0) -> Report:
        questions = [f"q{n}" for n in range(count)] + (["same"] if same else [])
        tests = "".join(f"  - {{id: c-{q}, prompt: {q}}}\n" for q in questions)
        trained = {q: f"good {q}" + (" again" if n < retrained else "") for n, q in enumerate(questions)}
        poor = {q: f"poor {q}" for q in questions}
        both = {"same": "the same"}
        tuned = scripted({**trained, **both}, label="law")
        report: Report = run(suite(f"version: 1\ntests:\n{tests}"), tuned, scripted({**poor, **both}) if base else None)
        return report

    return make


@pytest.fixture
def reviews(tmp_path: Path) -> Reviews:
    return Reviews("law", tmp_path / "reviews")


@pytest.fixture
def sit(reviews: Reviews) -> Callable[..., Session]:
    return lambda report, who="anna": Session(report, reviews, who, Still())


def words(shown: dict[str, Any]) -> str:
    return "".join(text for text, _ in shown["pieces"])


@pytest.fixture
def judge_all() -> Callable[..., None]:
    """Judge every case as somebody does who knows what is good; `mark` says what of the good answer."""

    def judge_all(
        session: Session, mark: Callable[[int], str] = lambda _: "accept", *, cases: int | None = None
    ) -> None:
        for number in range(len(session.items) if cases is None else cases):
            told = session.case(number)
            marks, edits, prefer = {}, {}, None
            for place, shown in zip("AB", told["answers"], strict=False):
                good = not words(shown).startswith("poor")
                marks[place] = mark(number) if good else "reject"
                if marks[place] == "edit":
                    edits[place] = words(shown) + ", better"
                if good and len(told["answers"]) == 2:
                    prefer = place
            session.judge(number, {"prefer": prefer, "marks": marks, "edits": edits, "comment": ""})

    return judge_all
