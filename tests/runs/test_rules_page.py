"""docs/rules.md says of each rule what ggship itself says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ggship.runs.findings import RULES

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
PARTS = {code: part for part in PAGE.read_text("utf-8").split("\n### ") if (code := part[:5]).startswith("GS")}


def test_the_page_has_the_rules_in_their_order():
    assert re.findall(r"^### (GS\d{3}) ", PAGE.read_text("utf-8"), re.MULTILINE) == list(RULES)


@pytest.mark.parametrize("code", RULES)
def test_the_page_says_the_same(code):
    rule, part = RULES[code], PARTS[code]
    assert part.startswith(f"{code} {rule.title}\n\nLevel: {rule.level}\n")
    assert re.search(r"^\* \*\*Example\.\*\* .{10}", part, re.MULTILINE)
    assert f"* **Consequence.** {rule.consequence}\n" in part
    assert f"* **Fix.** {rule.fix}" in part.splitlines()
