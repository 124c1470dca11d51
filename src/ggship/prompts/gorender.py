"""What Ollama makes of a Go TEMPLATE and a conversation, worked out here: no server, no Go.

Source: Ollama 0.32.14 and 0.34.4, template/template.go (Execute, collate), which are alike; Go, text/template (funcs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ggship.errors import UsageError
from ggship.prompts.gosyntax import Block, Jump, Node, Output, Pipe, Term, Text, parse_go
from ggship.runtimes.model import Message


def simulate(go: str, messages: Sequence[Message], *, system: str | None = None) -> str:
    """The text that Ollama renders from a `.Messages`-style TEMPLATE, tools and thinking left out.

    system: the model's SYSTEM, which Ollama puts in front of a conversation that does not start with its own.
    Raises UsageError for what this small interpreter does not know; it never guesses.
    """
    turns = list(messages)
    if system and turns and turns[0]["role"] != "system":
        turns.insert(0, Message(role="system", content=system))
    merged = _collate(turns)
    data = {
        "System": "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system"),
        "Messages": [{"Role": turn["role"], "Content": turn["content"]} for turn in merged],
        "Response": "",
        "Tools": None,
        "Think": False,
        "ThinkLevel": "",
        "IsThinkSet": False,
    }
    nodes = parse_go(go)
    if "messages" not in identifiers(nodes):
        raise UsageError(
            "this TEMPLATE does not use .Messages", hint="only templates over .Messages are worked out here"
        )
    out: list[str] = []
    _Run(data, out).walk(nodes, data, {"$": data})
    return "".join(out)


def identifiers(nodes: Sequence[Node]) -> set[str]:
    """All field names and variables, in lower case: what Ollama takes for the variables of a template."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, Output):
            _pipe_identifiers(node.pipe, found)
        elif isinstance(node, Block):
            _pipe_identifiers(node.pipe, found)
            found |= identifiers(node.body) | identifiers(node.otherwise)
    return found


def _pipe_identifiers(pipe: Pipe, found: set[str]) -> None:
    for command in pipe.commands:
        for term in command:
            if term.kind in ("field", "variable"):
                found.update(name.lower() for name in term.names)


def _collate(messages: Sequence[Message]) -> list[Message]:
    """Merge neighbours of one role with an empty line between, as Ollama does."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            text = merged[-1]["content"] + "\n\n" + message["content"]
            merged[-1] = Message(role=message["role"], content=text)
        else:
            merged.append(message)
    return merged


class _Jumped(Exception):
    """{{ break }} or {{ continue }} on its way to its range."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class _Run:
    """One execution."""

    def __init__(self, root: Mapping[str, Any], out: list[str]) -> None:
        self.root = root
        self.out = out

    def walk(self, nodes: Sequence[Node], dot: Any, scope: dict[str, Any]) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.out.append(node.text)
            elif isinstance(node, Jump):
                raise _Jumped(node.word)
            elif isinstance(node, Output):
                value = self._pipe(node.pipe, dot, scope)
                if not node.pipe.declared and not node.pipe.assigns:
                    self.out.append(_printed(value))
            else:
                self._block(node, dot, scope)

    def _block(self, block: Block, dot: Any, scope: dict[str, Any]) -> None:
        inner = _Scope(scope)
        if block.word == "range":
            self._range(block, dot, inner)
            return
        value = self._pipe(block.pipe, dot, inner)
        if _true(value):
            self.walk(block.body, value if block.word == "with" else dot, inner)
        else:
            self.walk(block.otherwise, dot, inner)

    def _range(self, block: Block, dot: Any, scope: dict[str, Any]) -> None:
        items = self._pipe(block.pipe, dot, scope, declare=False) or []
        if not isinstance(items, list):
            raise UsageError("range over something else than a list is not worked out here")
        if not items:
            self.walk(block.otherwise, dot, scope)
        names = block.pipe.declared
        for index, item in enumerate(items):
            inner = _Scope(scope)
            if names:
                inner.set_here(names[-1], item)
                if len(names) == 2:
                    inner.set_here(names[0], index)
            try:
                self.walk(block.body, item, inner)
            except _Jumped as jump:
                if jump.word == "break":
                    return

    def _pipe(self, pipe: Pipe, dot: Any, scope: dict[str, Any], *, declare: bool = True) -> Any:
        value: Any = _NOTHING
        for command in pipe.commands:
            value = self._command(command, dot, scope, value)
        if pipe.declared and declare:
            dict.__setitem__(scope, pipe.declared[0], value)
        if pipe.assigns:
            scope[pipe.assigns] = value
        return value

    def _command(self, terms: tuple[Term, ...], dot: Any, scope: dict[str, Any], piped: Any) -> Any:
        first = terms[0]
        if first.kind != "word" or first.names[0] in _CONSTANTS:
            if len(terms) > 1 or piped is not _NOTHING:
                raise UsageError("only a function takes arguments")
            return self._term(first, dot, scope)
        name = first.names[0]
        if name in ("and", "or"):
            return self._short(name, terms[1:], dot, scope)
        values = [self._term(term, dot, scope) for term in terms[1:]]
        if piped is not _NOTHING:
            values.append(piped)
        if name not in _FUNCTIONS:
            raise UsageError(f"the function {name} is not worked out here")
        return _FUNCTIONS[name](*values)

    def _short(self, name: str, terms: tuple[Term, ...], dot: Any, scope: dict[str, Any]) -> Any:
        """and, or: the first value that decides, the rest left alone (Go 1.18)."""
        value: Any = None
        for term in terms:
            value = self._term(term, dot, scope)
            if _true(value) == (name == "or"):
                return value
        return value

    def _term(self, term: Term, dot: Any, scope: dict[str, Any]) -> Any:
        if term.kind in ("string", "number"):
            return term.value
        if term.kind == "dot":
            return dot
        if term.kind == "word":
            if term.names[0] in _CONSTANTS:
                return _CONSTANTS[term.names[0]]
            return self._command((term,), dot, scope, _NOTHING)
        if term.kind == "field":
            return _fields(dot, term.names)
        if term.kind == "variable":
            if term.names[0] not in scope:
                raise UsageError(f"undefined variable {term.names[0]}")
            return _fields(scope[term.names[0]], term.names[1:])
        assert term.pipe is not None
        return _fields(self._pipe(term.pipe, dot, scope), term.names)


class _Scope(dict[str, Any]):
    """Variables of a block: seen from inside, assigned where they were declared."""

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__()
        self.outer = outer

    def set_here(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.outer

    def __missing__(self, name: str) -> Any:
        return self.outer[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if super().__contains__(name):
            super().__setitem__(name, value)
        else:
            self.outer[name] = value


_NOTHING = object()
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "nil": None}


def _true(value: Any) -> bool:
    return bool(value)


def _printed(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise UsageError("a whole list or message is not written out here")


def _fields(value: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if not isinstance(value, Mapping):
            raise UsageError(f".{name} of something without fields")
        if name not in value and "Role" in value:
            if name in ("Thinking", "ToolName", "ToolCallID"):
                return ""
            if name in ("ToolCalls", "Images"):
                return []
            raise UsageError(f"a message has no field .{name}")
        value = value.get(name)
    return value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if not isinstance(value, (list, str)) or not 0 <= key < len(value):
            raise UsageError(f"index {key} is out of range")
        value = value[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    start, stop = (*bounds, len(value))[:2] if bounds else (0, len(value))
    if not 0 <= start <= stop <= len(value):
        raise UsageError("slice is out of range")
    return value[start:stop]


def _compare(operator: str) -> Any:
    def compare(left: Any, right: Any) -> bool:
        if type(left) is not type(right):
            raise UsageError("incompatible types for comparison")
        return bool({"lt": left < right, "le": left <= right, "gt": left > right, "ge": left >= right}[operator])

    return compare


_FUNCTIONS: dict[str, Any] = {
    "eq": lambda left, *others: any(left == other for other in others),
    "ne": lambda left, right: left != right,
    "not": lambda value: not _true(value),
    "len": lambda value: len(value.encode() if isinstance(value, str) else value),
    "index": _index,
    "slice": _slice,
    "print": lambda *values: "".join(_printed(value) for value in values),
    **{name: _compare(name) for name in ("lt", "le", "gt", "ge")},
}
