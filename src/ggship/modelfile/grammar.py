"""Ollama's grammar for Modelfiles: text in, commands out, character by character as its own parser does.

Source: Ollama 0.32.14 and 0.34.4, parser/parser.go (ParseFile, parseRuneForState, unquote), which are alike here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from ggship.errors import UsageError
from ggship.modelfile.model import ROLES
from ggship.modelfile.newer import printable_since_13
from ggship.modelfile.parameters import suggest

COMMANDS = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
QUOTES = '"""'

Problem = Callable[[UsageError], None]
"""Hears of what is wrong, instead of having it raised."""

_Test = Callable[[str], bool]
_SPACES = " \t"
_NEWLINES = "\r\n"
# Go 1.26, with which these Ollamas are built, knows Unicode 15.0; a later Python knows these of 15.1 too.
_LATER = ((0x2FFC, 0x2FFF), (0x31EF, 0x31EF), (0x2EBF0, 0x2EE5D))


@dataclass(frozen=True, slots=True)
class Command:
    """One command. name: lower case; key: a parameter's name or a message's role, else "". line counts from 1.

    end: the line on which the value ends. raw: the value as it stands in the file, with its quotes and with what Ollama
    drops of it.
    """

    name: str
    key: str
    value: str
    line: int
    end: int
    raw: str


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment line, without "#"."""

    text: str
    line: int


def is_print(char: str) -> bool:
    """Go's strconv.IsPrint: letters, marks, numbers, punctuation, symbols, and of all spaces only U+0020."""
    if char == " ":
        return True
    code, category = ord(char), unicodedata.category(char)
    if category == "Cn":
        return printable_since_13(code)
    return category[0] in "LMNPS" and not any(low <= code <= high for low, high in _LATER)


def unquote(text: str) -> str | None:
    """What is between the quotes; the text itself where there are none; None where they are not closed yet."""
    for quote in (QUOTES, '"'):
        if text.startswith(quote):
            closed = len(text) >= 2 * len(quote) and text.endswith(quote)
            return text[len(quote) : -len(quote)] if closed else None
    return text


def read(text: str, on_problem: Problem | None = None) -> tuple[Command | Comment, ...]:
    """All commands and comments, in order.

    Raises UsageError with `line N` in `where` and the rule's code in `rule`; with `on_problem` that is called with the
    error instead, and reading goes on behind it, where Ollama would have stopped.
    """
    reader = _Reader(text.removeprefix("\ufeff"), on_problem or _raise)
    found: list[Command | Comment] = []
    while (item := reader.next()) is not None:
        found.append(item)
    return tuple(found)


def _raise(error: UsageError) -> None:
    raise error


class _Reader:
    """Walks over the text once. `line` is the line of the character at `at`."""

    def __init__(self, text: str, problem: Problem) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self._problem = problem
        self._before = 0  # the line on which triple quotes were closed last

    def _take(self) -> str:
        char = self.text[self.at]
        self.at += 1
        if char == "\n" or (char == "\r" and self.text[self.at : self.at + 1] != "\n"):
            self.line += 1
        return char

    def next(self) -> Command | Comment | None:
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                return self._comment()
            if self.text[self.at] in _SPACES + _NEWLINES:
                self._take()
            elif (command := self._command()) is not None:
                return command
        return None

    def _comment(self) -> Comment:
        line, start = self.line, self.at + 1
        self._skip_line()
        return Comment(self.text[start : self.at], line)

    def _skip_line(self) -> None:
        while self.at < len(self.text) and self.text[self.at] not in _NEWLINES:
            self._take()

    def _command(self) -> Command | None:
        line = self.line
        if not is_print(self.text[self.at]):
            self._take()  # Ollama drops one such character before a command, too
        word = self._word(lambda char: char.isascii() and char.isalpha())
        name = word.lower()
        if name not in COMMANDS:
            self._refuse("MF102", f"a Modelfile has no command {self._shown(word)}", line, self._why(word))
            self._skip_line()
            return None
        if not self._separator():
            self._refuse("MF103", f"{name.upper()} needs a value on the same line", line)
            self._skip_line()
            return None
        key = ""
        if name == "parameter":
            key = self._word(lambda char: char.isascii() and (char.isalnum() or char == "_"))
        elif name == "message":
            key = self._word(lambda char: char.isascii() and char.isalpha())
            if key not in ROLES:
                speakers = f"{', '.join(ROLES[:-1])} or {ROLES[-1]}"
                self._refuse("MF105", f"a MESSAGE is of {speakers}, not of {self._shown(key)}", line)
        if name in ("parameter", "message") and not self._separator():
            self._refuse("MF103", f"{name.upper()} {key} needs a value on the same line".replace("  ", " "), line)
            self._skip_line()
            return None
        start = self.at
        value = self._value(name, line)
        return None if value is None else Command(name, key, value, line, self._end(), self.text[start : self.at])

    def _refuse(self, code: str, words: str, line: int, hint: str = "") -> None:
        self._problem(UsageError(words, where=f"line {line}", hint=hint, rule=code))

    def _why(self, word: str) -> str:
        """What may have been meant; a text that ended early leaves lines behind that look like wrong commands."""
        near = suggest(word, COMMANDS, "commands")
        if self._before and not near.startswith("did you mean"):
            return f'the text before it ended in line {self._before}, the first that ends in """'
        return near

    def _end(self) -> int:
        """The line of the last character taken."""
        last, following = self.text[self.at - 1 : self.at], self.text[self.at : self.at + 1]
        return self.line - (last == "\n" or (last == "\r" and following != "\n"))

    def _shown(self, word: str) -> str:
        rest = self.text[self.at - len(word) : self.at + 1].split()
        return repr(rest[0]) if rest else repr(word)

    def _word(self, allowed: _Test) -> str:
        start = self.at
        while self.at < len(self.text) and allowed(self.text[self.at]):
            self._take()
        return self.text[start : self.at]

    def _separator(self) -> bool:
        """Take one space or tab; False where something else stands there."""
        if self.at < len(self.text) and self.text[self.at] in _SPACES:
            self._take()
            return True
        return False

    def _value(self, name: str, line: int) -> str | None:
        """Read up to the newline at which the quotes are closed, without the characters that Ollama drops."""
        seen = _Seen()
        while self.at < len(self.text):
            char = self._take()
            if char in _NEWLINES and seen.closed:
                break
            if char in _SPACES + _NEWLINES or is_print(char):
                seen.add(char)
        text = "".join(seen.kept).strip(_SPACES + _NEWLINES)
        value = unquote(text)
        if value is None:
            words = f"the quotes of {name.upper()} are never closed"
            self._refuse("MF104", words, line, 'close them with """ at the end of a line')
        elif text.startswith(QUOTES) and self._end() > line:
            self._before = self._end()
        return value


class _Seen:
    """The characters of a value so far. `closed` is `unquote(...) is not None`, told without looking at all again."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self._first = 0
        self._last = -1

    def add(self, char: str) -> None:
        if char not in _SPACES + _NEWLINES:
            if self._last < 0:
                self._first = len(self.kept)
            self._last = len(self.kept)
        self.kept.append(char)

    @property
    def closed(self) -> bool:
        length = self._last - self._first + 1
        head = "".join(self.kept[self._first : self._first + min(length, len(QUOTES))])
        quote = next((quote for quote in (QUOTES, '"') if head.startswith(quote)), "")
        tail = "".join(self.kept[self._last + 1 - len(quote) : self._last + 1])
        return length >= 2 * len(quote) and tail == quote
