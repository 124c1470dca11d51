"""The page of a load in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ggship.evals.bench.page import render_bench
from ggship.evals.bench.report import Asked, BenchReport, Level, Spread
from ggship.evals.report import Gate

from .look import contrasts, sideways
from .test_report import ATTACK


def level(streams: int, seconds: float) -> Level:
    """Whose three times are nearly the same, so that their names would lie on each other."""
    took = Spread(seconds, seconds, seconds, seconds + 0.01, seconds + 0.02, seconds + 0.03)
    first = Spread(seconds, seconds, seconds, seconds, seconds, seconds)
    return Level(streams, 5.0, 40, 8.0, 90.0, 30.0, took, first, None, 0, 0.0, (), 0, None, "server", 0)


@pytest.fixture
def load() -> BenchReport:
    """Of a model whose name attacks."""
    asked = Asked(ATTACK, "0" * 64, 8, True, None, (1, 2), 5.0, 100, 120.0, 1800.0)
    gates = (Gate("p95_latency <= 2", 1.2, True), Gate("tokens_per_s >= 100", 90.0, False))
    levels = (level(1, 1.0), level(2, 2.0))
    return BenchReport(ATTACK, None, "0", "2026-01-02T00:00:00+00:00", 10.0, 0.5, asked, levels, "", gates, (ATTACK,))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_load_can_be_read_and_is_inert(
    load: BenchReport, open_page: Callable[..., Any], tmp_path: Path, dark: bool, width: int
) -> None:
    path = tmp_path / "bench.html"
    path.write_text(render_bench(load), encoding="utf-8")
    opened = open_page(path.as_uri(), dark=dark, width=width, height=740)
    assert not sideways(opened)
    assert [pair for pair in contrasts(opened) if pair[0] < 4.5] == []
    names = opened.page.locator("svg.load text[class^=line]")
    boxes = sorted((box["x"] // 100, box["y"]) for box in (name.bounding_box() for name in names.all()) if box)
    assert len(boxes) == 4
    assert all(below - above >= 10 for (left, above), (right, below) in pairwise(boxes) if left == right)
    assert len(opened.requests) == 1
    assert opened.errors == opened.dialogs == []
    assert opened.page.evaluate("window.hacked") is None
