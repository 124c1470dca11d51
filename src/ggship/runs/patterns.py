"""Match PEFT's patterns on names of modules, in a time that is known before.

rank_pattern and alpha_pattern hold regular expressions, and come from whoever made the run: one with repeats inside
repeats would keep `re`, which nothing can stop, at work for years.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MOST_STEPS = 20_000_000
MOST_PATTERNS = 20_000
MOST_EXPRESSIONS = 200
_PLAIN = re.compile(r"[\w.]+")
_NAME = 80  # letters of a usual module name
_QUANTIFIER = re.compile(r"[*+?]|\{\d*,?\d*\}")


def matches(pattern: str, module: str) -> bool:
    """Whether the pattern names the module. Raises ValueError as `compiled` does."""
    if not _PLAIN.fullmatch(pattern):
        return compiled(pattern).match(module) is not None
    # A name written out, as most are: hundreds of them for hundreds of modules are no work for `re`.
    start = len(module) - len(pattern)
    if start < 0 or (start and module[start - 1] != "."):
        return False
    end = module[start:]
    return end == pattern or all(wanted in (char, ".") for wanted, char in zip(pattern, end, strict=True))


def check_patterns(patterns: Iterable[str]) -> None:
    """Raise ValueError, in words, for too many patterns to be tried on every module."""
    plain = [bool(_PLAIN.fullmatch(pattern)) for pattern in patterns]
    if len(plain) > MOST_PATTERNS or plain.count(False) > MOST_EXPRESSIONS:
        raise ValueError(f"{len(plain):,} patterns are more than any run has")


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as PEFT applies it: on the end of a name (utils/other.py, get_pattern_key).

    Raises ValueError, in words, where it is no regular expression, or one that may take too long.
    """
    if _steps(pattern) > MOST_STEPS:
        raise ValueError("it has too many repeats, and might be matched for ever; write out the modules' names")
    try:
        return re.compile(rf"(.*\.)?({pattern})$")
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from error


def _steps(pattern: str) -> float:
    """At most so many ways to try it on a usual name: the product of the choices that every part leaves.

    A repeat leaves as many as the name has letters, `?` two, a group as many as it has branches. A group that is
    repeated and has choices of its own has no bound.
    """
    groups: list[list[float]] = [[1.0, 1.0]]  # ways through what is open, branches of it
    closed = 1.0
    at = 0
    while at < len(pattern):
        char = pattern[at]
        quantifier = _QUANTIFIER.match(pattern, at)
        if char == "\\":
            at, closed = at + 2, 1.0
        elif char == "[":
            at, closed = _after_class(pattern, at), 1.0
        elif char == "(":
            groups.append([1.0, 1.0])
            at, closed = at + (2 if pattern[at + 1 : at + 2] == "?" else 1), 1.0
        elif char == ")" and len(groups) > 1:
            ways, branches = groups.pop()
            closed = ways * branches
            groups[-1][0] *= closed
            at += 1
        elif char == "|":
            groups[-1][1] += 1
            at, closed = at + 1, 1.0
        elif quantifier:
            groups[-1][0] *= 2.0 if char == "?" else _NAME if closed == 1.0 else float("inf")
            at = quantifier.end()
        else:
            at, closed = at + 1, 1.0
    result = 1.0
    for ways, branches in groups:
        result *= ways * branches
    return result


def _after_class(pattern: str, at: int) -> int:
    """The place after a set of characters that begins at `at`."""
    at += 1
    if pattern[at : at + 1] == "^":
        at += 1
    at += pattern[at : at + 1] == "]"
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
