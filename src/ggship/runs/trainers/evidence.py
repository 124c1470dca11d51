"""What a trainer may be known by: the heads of small files beside the adapter; no pickles, no links out of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ggship.runs.files import MIB, is_regular, read_head
from ggship.runs.model import History

_HEAD = MIB // 4
_YAML = MIB // 16
_MOST_BRACKETS = 2_000
_MOST_MERGES, _MOST_ALIASES = 4, 40
_FRONT_LINES = 500


@dataclass(frozen=True)
class Evidence:
    """What a reader of a trainer may look at. directories: the adapter's own first, then the run's root.

    config: adapter_config.json as it lies there. modules: names of the tensors' modules. template: the chat template
    saved with the run, from the file template_source.
    """

    directories: Sequence[Path]
    root: Path
    config: Mapping[str, Any]
    modules: frozenset[str]
    history: History
    tokenizer_saved: bool
    template: str | None = None
    template_source: str = ""

    def find(self, name: str) -> Path | None:
        """The first plain file of that name."""
        return next((path / name for path in self.directories if is_regular(path / name)), None)

    def source(self, name: str) -> str:
        """What a user may call the first file of that name: below the run, with the checkpoint's folder in front."""
        file = self.find(name)
        in_checkpoint = file is not None and len(self.directories) > 1 and file.parent == self.directories[0]
        return f"{self.directories[0].name}/{name}" if in_checkpoint else name

    def head(self, name: str) -> str:
        """The first quarter MiB of the first file of that name; "" where there is none."""
        file = self.find(name)
        return read_head(file, self.root, _HEAD) if file else ""

    def json(self, name: str) -> Mapping[str, Any]:
        """The object in a small JSON file; {} where there is none that can be read: it proves nothing then."""
        return json_object(self.head(name))

    def yaml(self, name: str) -> Mapping[str, Any]:
        """The mapping in a small YAML file; {} where there is none that can be read."""
        return yaml_mapping(self.head(name))

    @cached_property
    def readme(self) -> str:
        """The beginning of the model card."""
        return self.head("README.md")

    @cached_property
    def tags(self) -> frozenset[str]:
        """The tags in the model card's front matter."""
        return frozenset(_tags(self.readme.split("\n")[:_FRONT_LINES]))


def _tags(lines: Sequence[str]) -> Iterator[str]:
    """From `tags: [a, b]`, or from the list of lines below `tags:`, in the block between two lines of dashes."""
    if not lines or lines[0].rstrip() != "---":
        return
    inside = False
    for line in lines[1:]:
        if line.rstrip() == "---":
            return
        key, _, inline = line.partition(":")
        if inside and line.lstrip().startswith("- "):
            yield line.strip()[2:].strip(" '\"")
        elif key == "tags":
            inside = True
            yield from (name.strip(" '\"") for name in inline.strip(" []").split(",") if inline.strip())
        else:
            inside = False


@lru_cache(maxsize=8)
def json_object(text: str) -> Mapping[str, Any]:
    """The object that the text is, or {}."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


@lru_cache(maxsize=8)
def yaml_mapping(text: str) -> Mapping[str, Any]:
    """The mapping that the text is, or {}. Plain values alone: no tag of Python's is known to this loader.

    What would take the loader seconds or gigabytes is no configuration: brackets by the thousand, and merge keys, which
    it writes out again for each alias.
    """
    if not text or len(text) > _YAML or sum(map(text.count, "[{&")) > _MOST_BRACKETS:
        return {}
    if text.count("<<") > _MOST_MERGES or ("<<" in text and text.count("*") > _MOST_ALIASES):
        return {}
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}
    return value if isinstance(value, dict) else {}
