"""A YAML document read with line numbers, so that every mistake in a file the user wrote is shown where it stands."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ggship.errors import UsageError

MAX_DEPTH = 40  # libyaml composes recursively in C: a hundred thousand brackets end the process
_KINDS = {
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
}


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A hint: the nearest known word, or what there is to choose from."""
    from difflib import get_close_matches

    near = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else f"known are: {', '.join(sorted(known))}"


@dataclass(frozen=True, slots=True)
class Place:
    """One node of a YAML document: what stands there, and where (file, line, path such as tests[2].assert[0])."""

    file: str
    node: yaml.Node
    path: str = ""

    @property
    def line(self) -> int:
        """The line in the file, from 1."""
        return _line(self.node.start_mark)

    def error(self, message: str, hint: str = "") -> UsageError:
        """An error that names this place."""
        where = f"{self.file}, line {self.line}" + (f" ({self.path})" if self.path else "")
        return UsageError(message, where=where, hint=hint)

    @property
    def kind(self) -> str:
        """What stands here, in words: a mapping, a list, text, a number, true or false, nothing."""
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        return _KINDS.get(str(self.node.tag), "text")

    def fields(self, allowed: Collection[str], required: Collection[str] = ()) -> dict[str, Place]:
        """The mapping that stands here; unknown, doubled or missing keys are errors."""
        found = self.entries()
        for key, place in found.items():
            if key not in allowed:
                raise place.error(f"unknown key `{key}`", did_you_mean(key, allowed))
        for key in required:
            if key not in found:
                raise self.error(f"the key `{key}` is missing")
        return found

    def entries(self) -> dict[str, Place]:
        """The mapping that stands here, whatever its keys; merge keys (<<) are taken in."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"a mapping belongs here, not {self.kind}")
        found: dict[str, Place] = {}
        merged: dict[str, Place] = {}
        for key_node, value_node in self.node.value:
            key_place = Place(self.file, key_node, self.path)
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged.update(self._merge(value_node))
                continue
            key = key_place.text()
            if key in found:
                raise key_place.error(f"the key `{key}` stands here twice")
            found[key] = Place(self.file, value_node, f"{self.path}.{key}" if self.path else key)
        return {**merged, **found}

    def _merge(self, node: yaml.Node) -> dict[str, Place]:
        source = Place(self.file, node, self.path)
        if isinstance(node, yaml.MappingNode) and any(key.tag.endswith(":merge") for key, _ in node.value):
            raise source.error("a mapping that is merged in cannot merge another one itself")
        return source.entries()

    def items(self) -> list[Place]:
        """The list that stands here."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"a list belongs here, not {self.kind}")
        return [Place(self.file, node, f"{self.path}[{number}]") for number, node in enumerate(self.node.value)]

    def items_or_one(self) -> list[Place]:
        """The list that stands here, or the one thing that does."""
        return self.items() if isinstance(self.node, yaml.SequenceNode) else [self]

    def plain(self, depth: int = 0) -> Any:
        """What stands here as plain values: mappings, lists, numbers, true, false, None; every other scalar is text."""
        if depth > MAX_DEPTH:  # an anchor within itself
            raise self.error(f"more than {MAX_DEPTH} levels deep")
        if isinstance(self.node, yaml.MappingNode):
            return {name: place.plain(depth + 1) for name, place in self.entries().items()}
        if isinstance(self.node, yaml.SequenceNode):
            return [place.plain(depth + 1) for place in self.items()]
        text, kind = str(self.node.value), self.kind
        if kind == "a number":
            try:
                return int(text) if text.lstrip("+-").isdigit() else self.number()
            except UsageError:  # YAML's 0x1F and 1_000
                return text
        if kind == "true or false" and text in ("true", "false"):  # `yes` is a word here
            return text == "true"
        return None if kind == "nothing" else text

    def texts(self, depth: int = 0) -> Iterator[str]:
        """Every scalar here and below, as it was written."""
        if isinstance(self.node, yaml.ScalarNode):
            yield str(self.node.value)
        elif depth <= MAX_DEPTH:
            below = self.entries().values() if isinstance(self.node, yaml.MappingNode) else self.items()
            for place in below:
                yield from place.texts(depth + 1)

    def text(self) -> str:
        """The text that stands here, as it was written: `yes` and `007` stay words, whatever YAML thinks of them."""
        if not isinstance(self.node, yaml.ScalarNode) or self.kind == "nothing":
            raise self.error(f"text belongs here, not {self.kind}")
        return str(self.node.value)

    def number(self, low: float = float("-inf"), high: float = float("inf")) -> float:
        """The number that stands here, from `low` to `high`."""
        try:
            value = float(self.text()) if self.kind == "a number" else None
        except ValueError:  # YAML's 0x1F and 1_000
            value = None
        if value is None or not low <= value <= high:
            span = "" if (low, high) == (float("-inf"), float("inf")) else f" from {low:g} to {high:g}"
            raise self.error(f"a number{span} belongs here, not {self.kind if value is None else f'{value:g}'}")
        return value

    def integer(self, low: int, high: int) -> int:
        """The whole number that stands here, from `low` to `high`."""
        value = self.number(low, high)
        if value != int(value):
            raise self.error(f"a whole number belongs here, not {value:g}")
        return int(value)


def read_document(path: Path) -> Place:
    """The root of the YAML file. UsageError, with the line, where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError("there is no such file", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            "the file is not UTF-8", where=f"{path}, byte {error.start}", hint="save it as UTF-8 and try again"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot read the file: {error.strerror}", where=str(path)) from error
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Place:
    """The root of a YAML text; `name` stands for it in errors."""
    try:
        _refuse_depth(text, name)
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        if "nesting depth" in str(error.problem):  # libyaml 0.2.6 has a limit of its own, and reads ahead of ours
            raise UsageError(f"more than {MAX_DEPTH} levels deep", where=f"{name}{line}") from error
        problem = f"not YAML: {error.problem or error.context}"
        if "nesting depth" in problem:  # newer libyaml stops by itself, before our own count comes to it
            problem = f"more than {MAX_DEPTH} levels deep"
        raise UsageError(problem, where=f"{name}{line}", hint=_yaml_hint(text)) from error
    except yaml.YAMLError as error:
        raise UsageError("not YAML", where=f"{name}: {' '.join(str(error).split())}") from error
    if node is None:
        raise UsageError("the file is empty", where=name)
    return Place(name, node)


def _refuse_depth(text: str, name: str) -> None:
    depth = 0
    for event in _events(text):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                place = f"{name}, line {_line(event.start_mark)}"
                raise UsageError(f"more than {MAX_DEPTH} levels deep", where=place)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _yaml_hint(text: str) -> str:
    if "\t" in text:
        return "indent with spaces: YAML takes no tabs"
    return "put quotes around a text with braces, as in '{{name}}'" if "{{" in text else ""


def _line(mark: Any) -> int:
    return int(mark.line) + 1


def _events(text: str) -> Iterator[yaml.Event]:
    events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.CSafeLoader)
    return events
