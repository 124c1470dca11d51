"""The comparison of several models in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ggship.evals.contest import Contest, contest_of
from ggship.evals.contest_page import render_contest

from .look import contrasts, sideways
from .reports import asked
from .test_report import ATTACK, BASE, CAPITALS, TUNED

Open = Callable[..., Any]


@pytest.fixture
def contest() -> Contest:
    """Three models; the second attacks with what it says, and with its name."""
    rows = [
        asked(CAPITALS, TUNED, BASE),
        asked(CAPITALS, {**BASE, "And of Peru?": f"Lima {ATTACK}"}, BASE, label=ATTACK),
    ]
    return contest_of("smollm2:135m", [replace(row, rival="other") for row in rows])


def opened_of(contest: Contest, open_page: Open, tmp_path: Path, **view: Any) -> Any:
    path = tmp_path / "compare.html"
    path.write_text(render_contest(contest), encoding="utf-8")
    return open_page(path.as_uri(), **view)


def test_every_model_stands_with_its_figures_and_every_answer_beside_the_others(
    contest: Contest, open_page: Open, tmp_path: Path
) -> None:
    opened = opened_of(contest, open_page, tmp_path)
    page = opened.page
    assert page.get_by_role("heading", level=1).inner_text().endswith("Not all may go live")
    standings = page.locator(".standings li")
    assert [words.split("\n")[0].strip() for words in standings.all_inner_texts()][:2] == ["smollm2:135m", "law-helper"]
    assert standings.locator(".big").all_inner_texts() == ["25 %", "50 %", "50 %"]
    assert "+25.0 points" in standings.nth(1).inner_text()
    assert "1 regression" in standings.nth(1).inner_text()
    page.get_by_role("button", name="They differ 4").click()
    assert page.locator(".case:visible").count() == 4
    page.get_by_role("searchbox").fill("kyoto")
    assert page.locator(".case:visible .id").all_inner_texts() == ["japan"]
    japan = page.locator(".case:visible")
    assert japan.get_by_role("region").count() == 3 or japan.locator(".answer").count() == 3
    assert japan.locator(".text.tuned mark").all_inner_texts() == ["Kyoto"]
    assert len(opened.requests) == 1
    assert opened.errors == opened.dialogs == []
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_in_the_dark_and_on_a_phone(
    contest: Contest, open_page: Open, tmp_path: Path, dark: bool
) -> None:
    opened = opened_of(contest, open_page, tmp_path, dark=dark, width=360, height=740)
    assert not sideways(opened)
    assert [pair for pair in contrasts(opened) if pair[0] < 4.5] == []
