"""Strangers' words inside Markdown, as GitHub and others render it: shown as they are, and doing nothing."""

from __future__ import annotations

import re
from html import escape
from itertools import groupby

from ggship.evals.odd import escape_odd

# What makes more than text of a word in GitHub's Markdown (GFM and what GitHub adds to it): emphasis, links, HTML,
# entities, mathematics, emoji, mentions, references to issues and commits, addresses that link themselves. Escapes with
# a backslash do not help against the latter: those are looked for in what was rendered, everywhere but in code.
_LIVELY = re.compile(
    r"[`*\[\]|~\\@#$]|(?<!\w)_|_(?!\w)|<[a-z/!?]|&[#\w]+;|://|www\.|:[\w+-]+:|\b[0-9a-f]{7,}\b|\bGH-\d", re.IGNORECASE
)
_BEGINS_A_BLOCK = re.compile(r"[-+>=]+|\d+[.)]")


def inert(text: str, *, cell: bool = False) -> str:
    """The text on one line; words that Markdown would make something of stand in code. cell: it is one of a table."""
    words = escape_odd(text).split()
    lively = [bool(_LIVELY.search(word)) for word in words]
    if words and _BEGINS_A_BLOCK.fullmatch(words[0]):
        lively[0] = True
    groups = groupby(zip(words, lively, strict=True), key=lambda pair: pair[1])
    return " ".join(
        code(" ".join(word for word, _ in group), cell=cell) if odd else " ".join(word for word, _ in group)
        for odd, group in groups
    )


def code(text: str, *, cell: bool = False) -> str:
    """The text as a code span on one line. cell: in a table, where a bar would end the cell even in code."""
    shown = " ".join(escape_odd(text).split())
    if not shown:
        return "–"
    fence = "`" * (1 + _longest_run(shown))
    space = " " if "`" in (shown[0], shown[-1]) else ""
    span = f"{fence}{space}{shown}{space}{fence}"
    return span.replace("|", "\\|") if cell else span


def fenced(text: str, limit: int) -> list[str]:
    """The text as lines of a code block that nothing in it ends; cut after `limit` characters, and then it says so."""
    shown = escape_odd(text[:limit])
    fence = "`" * max(3, 1 + _longest_run(shown))
    more = len(text) - limit
    return [f"{fence}text", shown, fence, *([f"{more:,} more characters are in report.json."] if more > 0 else []), ""]


def html_code(text: str) -> str:
    """The text on one line in the HTML that Markdown takes, as code."""
    return f"<code>{escape(' '.join(escape_odd(text).split()))}</code>"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
