"""The report in a real browser, opened from its file as people open it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ggship.evals.html import render_html

from .reports import asked

CAPITALS = """
version: 1
name: capitals
tests:
  - {id: france, prompt: "France?", assert: [{type: contains, value: Paris}], tags: [europe]}
  - {id: japan, prompt: "Japan?", assert: [{type: contains, value: Tokyo}]}
"""
RIGHT = {"France?": "It is Paris.", "Japan?": "It is Tokyo."}


def test_the_report_opens_from_its_file_and_asks_for_nothing_else(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_html(asked(CAPITALS, RIGHT, {"France?": "It is Lyon."})), encoding="utf-8")
    opened = open_page(path.as_uri())
    assert opened.page.get_by_role("heading", name="Ready to go live", level=1).is_visible()
    assert opened.page.locator(".case:visible").count() == 2
    assert opened.requests == [path.as_uri()]
    assert opened.errors == opened.dialogs == []
