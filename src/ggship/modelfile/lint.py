"""What is wrong or odd in a Modelfile, all of it at once, line by line; rules in rules.py, with examples in docs."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

from ggship.errors import BadFile, UsageError
from ggship.modelfile.grammar import QUOTES, Command, Comment, is_print, read
from ggship.modelfile.model import ONCE
from ggship.modelfile.parameters import DEPRECATED, GONE, KNOWN, LISTS
from ggship.modelfile.rules import Problem, problem
from ggship.modelfile.sense import literal_text, what_it_says
from ggship.modelfile.text import no_from, parameter

LARGEST = 4 << 20
"""Bytes; the longest Modelfiles hold a few licenses."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ESCAPE = re.compile(r"\\[ntr]")
_COMMENT = re.compile(r"\s#\s.*")
_SHOWN = 5
# Where a parameter means something: (at least, at most), None for no end.
_RANGES: dict[str, tuple[float | None, float | None]] = {
    "num_ctx": (1, None),
    "num_batch": (1, None),
    "num_predict": (-2, None),
    "num_keep": (-1, None),
    "repeat_last_n": (-1, None),
    "top_k": (0, None),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "temperature": (0, None),
    "repeat_penalty": (0, None),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}


def read_bytes(data: bytes) -> tuple[str, bool]:
    """The text of a Modelfile as Ollama decodes it, and whether all of it could be read.

    UTF-16 with a byte order mark is read; what is no UTF-8 becomes U+FFFD (parser/parser.go, BOMOverride).
    """
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8"
    try:
        return data.decode(encoding), True
    except UnicodeDecodeError:
        return data.decode(encoding, "replace"), False


def lint_bytes(data: bytes, *, folder: Path | None = None) -> tuple[Problem, ...]:
    """Like `lint`, of a file's bytes. Raises BadFile where they are too many for a Modelfile."""
    if len(data) > LARGEST:
        raise BadFile("that is too long for a Modelfile", where=f"{len(data):,} bytes")
    text, whole = read_bytes(data)
    if whole:
        return lint(text, folder=folder)
    line = next(number for number, part in enumerate(text.split("\n"), 1) if "\ufffd" in part)
    return _sorted((problem("MF101", line, "from this line on, at least"), *lint(text, folder=folder)))


def lint(text: str, *, folder: Path | None = None) -> tuple[Problem, ...]:
    """Everything that is wrong or odd in the text of a Modelfile, by line.

    folder: where it lies, to look for the files that it names; None where it lies nowhere.
    """
    found: list[Problem] = []
    commands = [item for item in read(text, lambda error: found.append(_of(error))) if not isinstance(item, Comment)]
    if not any(command.name == "from" for command in commands):
        found.append(_of(no_from()))
    seen: dict[str, int] = {}
    for command in commands:
        found += _twice(command, seen)
        found += _parameter(command) if command.name == "parameter" else ()
        found += _value(command)
    found += what_it_says(commands, folder)
    return _sorted(found)


def _sorted(found: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each once, by line."""
    return tuple(sorted(dict.fromkeys(found), key=lambda item: (item.line, item.code)))


def _of(error: UsageError) -> Problem:
    line, _, rest = error.where.removeprefix("line ").partition(": ")
    evidence = f"{error.message}: {rest}" if rest else error.message
    return problem(error.rule, int(line), evidence, fix=f"{error.hint[:1].upper()}{error.hint[1:]}")


def _twice(command: Command, seen: dict[str, int]) -> Iterator[Problem]:
    if command.name == "parameter" and command.key not in LISTS:
        code, name = "MF204", f"PARAMETER {command.key}"
    elif command.name in ONCE:
        code, name = "MF107", command.name.upper()
    else:
        return
    if name in seen:
        yield problem(code, command.line, f"{name} stands in line {seen[name]} already")
    seen[name] = command.line


def _parameter(command: Command) -> Iterator[Problem]:
    name, value, line = command.key, command.value, command.line
    try:
        kept = parameter(command)
    except UsageError as error:
        yield _of(error)
        return
    if name in DEPRECATED:
        yield problem("MF203", line, name)
    if name in GONE:
        yield problem("MF206", line, f"{name} {value}")
    if name in LISTS and not value.strip():
        yield problem("MF207", line, f"PARAMETER {name} {value!r}")
    low, high = _RANGES.get(name, (None, None))
    if isinstance(kept, (int, float)) and not isinstance(kept, bool):
        if (low is not None and kept < low) or (high is not None and kept > high):
            ends = f"from {low:g}" + (f" to {high:g}" if high is not None else "")
            yield problem("MF205", line, f"{name} is {value}; it goes {ends}")
        if _rounded(value, kept):
            yield problem("MF208", line, f"{name} {value} is kept as {kept!r}")


def _rounded(text: str, kept: float) -> bool:
    try:
        return Decimal(text) != Decimal(repr(kept))
    except ArithmeticError:
        return False  # hexadecimal


def _value(command: Command) -> Iterator[Problem]:
    name, value, line, raw = _shown(command), command.value, command.line, command.raw
    dropped = sorted({char for char in raw if not (is_print(char) or char in " \t\r\n")})
    if dropped:
        named = ", ".join(f"U+{ord(char):04X}" for char in dropped[:_SHOWN]) + (", ..." if dropped[_SHOWN:] else "")
        yield problem("MF109", line, f"{name}: {named}")
    quoted = raw.lstrip().startswith('"')
    if quoted and not raw.lstrip().startswith(QUOTES) and command.end > line:
        yield problem("MF110", line, f"{name} goes on to line {command.end}")
    if "\r" in value:
        yield problem("MF111", line, name)
    elif not quoted and name not in ("LICENSE", "TEMPLATE") and (comment := _COMMENT.search(value)):
        yield problem("MF112", line, f"{name}: {comment[0].strip()[:60]}")
    escapes = sorted(set(_ESCAPE.findall(literal_text(value)))) if name in _WITH_LINES else []
    if escapes:
        yield problem("MF113", line, f"{name} has {' '.join(escapes)}")
    if not value and command.name in ("template", "system", "license", "message", "renderer", "parser"):
        yield problem("MF114", line, name)


_WITH_LINES = ("TEMPLATE", "SYSTEM", "PARAMETER stop")


def _shown(command: Command) -> str:
    return f"{command.name.upper()} {command.key}".strip() if command.key in KNOWN else command.name.upper()
