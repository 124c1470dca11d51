"""The syntax of Go's text/template, as far as chat templates use it: text in, a tree out.

Source: Go, text/template and text/template/parse, strconv.Unquote. Missing: variables' fields on call results, numbers
but decimal integers, comments inside pipelines, character constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ggship.errors import UsageError

_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<raw>`[^`]*`) | (?P<variable>\$\w*(?:\.\w+)*) | (?P<field>(?:\.\w+)+)
    | (?P<dot>\.(?!\w)) | (?P<number>-?(?:0|[1-9][0-9]{0,17})(?![\w.])) | (?P<word>[^\W\d]\w*) | (?P<op>:=|=|\||\(|\)|,)
    )""",
    re.VERBOSE,
)
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Term:
    """One operand. kind: field (names), variable ($x, then field names), string, number, word (function), dot, pipe."""

    kind: str
    names: tuple[str, ...] = ()
    value: str | int | None = None
    pipe: Pipe | None = None


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each of terms; what one gives is the last argument of the next.

    declared: the names before :=. assigns: the name before =, or "".
    """

    commands: tuple[tuple[Term, ...], ...]
    declared: tuple[str, ...] = ()
    assigns: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text."""

    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """{{ pipeline }}."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Block:
    """{{ if }}, {{ range }} or {{ with }}, by `word`."""

    word: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Jump:
    """{{ break }} or {{ continue }}."""

    word: str


Node = Text | Output | Block | Jump
_Part = tuple[str, str, int]  # ("text" or "action", what stands there, its line)


def parse_go(text: str) -> tuple[Node, ...]:
    """The tree of a template. Raises UsageError with the line for what Go refuses, or what is not read here."""
    parts = list(_parts(text))
    try:
        nodes, end, at = _nodes(parts, 0)
    except RecursionError:
        raise UsageError("the blocks are nested too deeply", where="TEMPLATE") from None
    if end:
        raise UsageError(f"{{{{ {end} }}}} closes nothing", where=f"TEMPLATE: line {parts[at - 1][2]}")
    return nodes


def _parts(text: str) -> Iterator[_Part]:
    at = 0
    trim = False
    while True:
        start = text.find("{{", at)
        literal = text[at:] if start < 0 else text[at:start]
        line = text.count("\n", 0, at if start < 0 else start) + 1
        body, end, left, right = ("", len(text), False, False) if start < 0 else _action(text, start, line)
        if trim:
            literal = literal.lstrip(_SPACE)
        if left:
            literal = literal.rstrip(_SPACE)
        if literal:
            yield "text", literal, line
        if start < 0:
            return
        if not body.startswith("/*"):
            yield "action", body, line
        at, trim = end, right


def _action(text: str, start: int, line: int) -> tuple[str, int, bool, bool]:
    """(what stands between the braces, where it ends, trims left, trims right); strings may hold braces."""
    at = start + 2
    left = text[at : at + 1] == "-" and text[at + 1 : at + 2] in tuple(_SPACE)
    if left:
        at += 1
    body_start = at
    while at < len(text):
        if text.startswith("}}", at):
            body = text[body_start:at]
            right = len(body) >= 2 and body[-1] == "-" and body[-2] in _SPACE
            return (body[:-1] if right else body).strip(_SPACE), at + 2, left, right
        if text.startswith("/*", at):
            closed = text.find("*/", at + 2)
            if closed < 0:
                raise UsageError("a comment is never closed", where=f"TEMPLATE: line {line}")
            at = closed + 2
            continue
        token = _QUOTED.match(text, at)
        at = token.end() if token else at + 1
    raise UsageError("{{ is never closed", where=f"TEMPLATE: line {line}")


def _nodes(parts: list[_Part], at: int) -> tuple[tuple[Node, ...], str, int]:
    """Read up to {{ end }} or {{ else }}: (nodes, what ended them or "", where to go on)."""
    nodes: list[Node] = []
    while at < len(parts):
        kind, body, line = parts[at]
        at += 1
        if kind == "text":
            nodes.append(Text(body))
            continue
        word = body.split(None, 1)[0] if body else ""
        if word in ("end", "else"):
            return tuple(nodes), body, at
        if word in ("if", "range", "with"):
            block, at = _block(parts, at, word, body[len(word) :], line)
            nodes.append(block)
        elif word in ("break", "continue"):
            nodes.append(Jump(word))
        elif word in ("define", "template", "block"):
            raise UsageError(f"{{{{ {word} }}}} is not read here", where=f"TEMPLATE: line {line}")
        else:
            nodes.append(Output(_Pipes(body, line).whole()))
    return tuple(nodes), "", at


def _block(parts: list[_Part], at: int, word: str, condition: str, line: int) -> tuple[Block, int]:
    pipe = _Pipes(condition, line).whole()
    body, end, at = _nodes(parts, at)
    otherwise: tuple[Node, ...] = ()
    if end.startswith("else"):
        rest = end[4:].strip(_SPACE)
        if rest:
            chained = rest.split(None, 1)[0]
            block, at = _block(parts, at, chained, rest[len(chained) :], parts[at - 1][2])
            return Block(word, pipe, body, (block,)), at
        otherwise, end, at = _nodes(parts, at)
    if end != "end":
        raise UsageError(f"{{{{ {word} }}}} has no {{{{ end }}}}", where=f"TEMPLATE: line {line}")
    return Block(word, pipe, body, otherwise), at


class _Pipes:
    """Reads one pipeline."""

    def __init__(self, text: str, line: int) -> None:
        self.line = line
        self.tokens: list[tuple[str, str]] = []
        at = 0
        text = text.strip(_SPACE)
        while at < len(text):
            found = _TOKEN.match(text, at)
            if not found or found.lastgroup is None:
                raise self._error(f"cannot read {text[at:].strip()!r}")
            self.tokens.append((found.lastgroup, found.group(found.lastgroup)))
            at = found.end()
        self.at = 0

    def _error(self, message: str) -> UsageError:
        return UsageError(message, where=f"TEMPLATE: line {self.line}")

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def whole(self) -> Pipe:
        pipe = self._pipe()
        if self.at < len(self.tokens):
            raise self._error(f"{self._peek()[1]!r} is not expected here")
        return pipe

    def _pipe(self) -> Pipe:
        words = [text for _, text in self.tokens[self.at : self.at + 4]]
        declared: tuple[str, ...] = ()
        assigns = ""
        if words[1:2] == [":="]:
            declared, self.at = (words[0],), self.at + 2
        elif words[1:2] == [","] and words[3:4] == [":="]:
            declared, self.at = (words[0], words[2]), self.at + 4
        elif words[1:2] == ["="]:
            assigns, self.at = words[0], self.at + 2
        commands = [self._command()]
        while self._peek() == ("op", "|"):
            self.at += 1
            commands.append(self._command())
        return Pipe(tuple(commands), declared, assigns)

    def _command(self) -> tuple[Term, ...]:
        terms: list[Term] = []
        while (token := self._peek()) not in (("end", ""), ("op", "|"), ("op", ")")):
            terms.append(self._term(*token))
        if not terms:
            raise self._error("a value is missing")
        return tuple(terms)

    def _term(self, kind: str, text: str) -> Term:
        self.at += 1
        if kind == "op":
            if text != "(":
                raise self._error(f"{text!r} is not expected here")
            pipe = self._pipe()
            if self._peek() != ("op", ")"):
                raise self._error("( is never closed")
            self.at += 1
            names: tuple[str, ...] = ()
            if self._peek()[0] == "field":
                names = tuple(self._peek()[1].split(".")[1:])
                self.at += 1
            return Term("pipe", names, pipe=pipe)
        if kind == "string":
            try:
                return Term("string", value=_unescape(text[1:-1]))
            except ValueError:
                raise self._error(f"{text} is no string of Go's") from None
        if kind == "raw":
            return Term("string", value=text[1:-1])
        if kind == "number":
            return Term("number", value=int(text))
        if kind == "field":
            return Term("field", tuple(text.split(".")[1:]))
        if kind == "variable":
            return Term("variable", tuple(text.split(".")))
        return Term(kind, (text,))


_ESCAPE = re.compile(
    r"\\(?:u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|x(?P<x>[0-9a-fA-F]{2})|(?P<o>[0-7]{3})|(?P<c>.?))", re.DOTALL
)
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, '"': 34, "\\": 92}


def _unescape(text: str) -> str:
    """What a quoted string says. ValueError for an escape that Go does not know, or bytes that are no UTF-8."""
    parts: list[bytes] = []
    at = 0
    for found in _ESCAPE.finditer(text):
        parts += [text[at : found.start()].encode(), _escaped(found)]
        at = found.end()
    return b"".join([*parts, text[at:].encode()]).decode()


def _escaped(found: re.Match[str]) -> bytes:
    r"""\u and \U give a character, \x and octal digits a byte."""
    if code := found["u"] or found["U"]:
        return chr(int(code, 16)).encode()
    if found["x"] or found["o"]:
        return bytes([int(found["x"], 16) if found["x"] else int(found["o"], 8)])
    if found["c"] not in _SIMPLE:
        raise ValueError(found.group())
    return bytes([_SIMPLE[found["c"]]])
