"""The sandbox that chat templates are rendered in: Jinja as transformers sets it up, bounded in loops and output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sized
from datetime import datetime
from functools import lru_cache
from itertools import islice
from types import CodeType
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_OUTPUT = 2_000_000  # characters
MAX_TURNS = 200_000  # turns of all loops together
MAX_TEXT = 1_000_000  # characters of the template itself
_WIDE = re.compile(r"%[^%a-zA-Z]*(?:\d{5}|\*)")  # a width in a format: %100000d, %*d


class RaisedByTemplate(TemplateError):
    """The template itself refused the conversation, by raise_exception."""


class TooMuch(SecurityError):
    """The template loops or writes without end."""


class _Generation(Extension):
    """{% generation %}, which marks what was trained on (transformers); here it only passes its body on."""

    tags = {"generation"}  # noqa: RUF012  (as Jinja declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """namespace() without underscored names, which lead out of the sandbox."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a chat template may not set {name!r} on a namespace")
        super().__setitem__(name, value)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one rendering; it counts, so it is not used twice.

    Source of the settings: transformers, utils/chat_template_utils.py (trim_blocks, lstrip_blocks, loopcontrols,
    tojson without ASCII escapes, raise_exception, strftime_now). There is no loader: include and import fail.
    What is not bounded here is what one expression takes (`x ~ x` doubled in a loop); `check_template` is for that.
    """

    def __init__(self, now: datetime) -> None:
        # Not optimized: what Jinja works out while it compiles is bounded by nothing.
        super().__init__(trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[_Generation, loopcontrols])
        self._turns = 0
        self.filters["tojson"] = _tojson
        self.filters["ggship_counted"] = self._counted
        self.globals.update(raise_exception=_raise, strftime_now=now.strftime, namespace=_Namespace)

    intercepted_binops = frozenset(("*", "**", "%"))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The few operators by which a short template makes something huge."""
        if _huge(operator, left, right):
            raise TooMuch(f"a {operator} in it makes more than {MAX_OUTPUT} characters")
        return super().call_binop(context, operator, left, right)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse at once; Jinja itself would print nothing in its place."""
        raise SecurityError(f"it reaches for {attribute!r} of {type(obj).__name__!r}")

    def render_text(self, text: str, variables: dict[str, Any]) -> str:
        """Compile and render. Raises what Jinja raises, and TooMuch."""
        if len(text) > MAX_TEXT:
            raise TooMuch(f"the template is longer than {MAX_TEXT} characters")
        template = Template.from_code(self, _code(text), self.make_globals(None))
        return "".join(self._bounded(template.generate(variables)))

    @staticmethod
    def _bounded(pieces: Iterable[str]) -> Iterator[str]:
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > MAX_OUTPUT:
                raise TooMuch(f"the prompt is longer than {MAX_OUTPUT} characters")
            yield piece

    def _counted(self, items: Any) -> Any:
        """The items of a loop, counted before it starts. What is no iterable fails where Jinja would fail anyway."""
        if not isinstance(items, Sized):
            if not isinstance(items, Iterable):
                return items
            items = list(islice(items, MAX_TURNS + 1))
        self._turns += len(items)
        if self._turns > MAX_TURNS:
            raise TooMuch(f"the template's loops take more than {MAX_TURNS} turns")
        return items


@lru_cache(maxsize=8)
def _code(text: str) -> CodeType:
    """Compiled once for all renderings: the code looks filters and globals up in the environment it is run in."""
    sandbox = Sandbox(datetime.min)
    tree = sandbox.parse(text)
    for other in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        word = type(other).__name__.lower()
        raise TemplateSyntaxError(f"{word} of another file, and a chat template has none", other.lineno)
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "ggship_counted", [], [], None, None, lineno=loop.lineno)
    return sandbox.compile(tree)


def _huge(operator: str, left: Any, right: Any) -> bool:
    """Whether the result is larger than anything in a prompt; wrong operands are left to Python to refuse."""
    if operator == "%":
        return isinstance(left, str) and _WIDE.search(left) is not None
    if operator == "**":
        return isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_OUTPUT
    for one, other in ((left, right), (right, left)):
        if isinstance(one, int) and isinstance(other, Sized):
            return one * len(other) > MAX_OUTPUT
    return isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_OUTPUT


def _raise(message: str) -> NoReturn:
    raise RaisedByTemplate(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
