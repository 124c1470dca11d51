"""Read the tokenizer files and the chat template that training saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.errors import BadFile
from ggship.runs.files import MIB, is_regular, kind_of, list_directory, read_object, read_text, refuse_leaving

TEMPLATE_LIMIT = MIB
_CONFIG_LIMIT = 32 * MIB  # tokenizer_config.json lists every added token
_TOKENIZER_FILES = frozenset(
    (
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "spiece.model",
        "sentencepiece.bpe.model",
        "chat_template.jinja",
        "chat_template.json",
    )
)


@dataclass(frozen=True, slots=True)
class SavedTokenizer:
    """What of a tokenizer lies in `directory`. template is Jinja text; source is the name of its file."""

    directory: Path | None = None
    files: tuple[str, ...] = ()
    template: str | None = None
    source: str = ""


def read_tokenizer(directories: Sequence[Path], run: Path) -> SavedTokenizer:
    """The tokenizer of the first directory that has one; its template from the first that has a template.

    transformers reads chat_template.jinja before tokenizer_config.json (tokenization_utils_base.py). Raises BadFile
    where such a file is damaged, Refused where it is a link out of the run: the template decides every prompt.
    """
    home: Path | None = None
    files: tuple[str, ...] = ()
    for directory in directories:
        names = list_directory(directory)
        files = tuple(
            name
            for name in names
            if name in _TOKENIZER_FILES or (name.startswith("tokenization_") and name.endswith(".py"))
        )
        if files:
            home = directory
            for name in files:
                refuse_leaving(directory / name, run)
            break
    for directory in directories:
        template, source = read_chat_template(directory, run)
        if template is not None:
            return SavedTokenizer(home, files, template, source)
    return SavedTokenizer(home, files)


def read_chat_template(directory: Path, run: Path) -> tuple[str | None, str]:
    """(Jinja text, name of the file that it came from), or (None, "")."""
    file = directory / "chat_template.jinja"
    if is_regular(file):
        return read_text(file, run, TEMPLATE_LIMIT), file.name
    for name in ("tokenizer_config.json", "chat_template.json"):
        file = directory / name
        if is_regular(file):
            template = _choose(file, read_object(file, run, _CONFIG_LIMIT).get("chat_template"))
            if template is not None:
                return template, name
    return None, ""


def _choose(file: Path, value: Any) -> str | None:
    """The template text, or the one named `default` of a list of named templates."""
    if isinstance(value, list):
        named = {item.get("name"): item.get("template") for item in value if isinstance(item, dict)}
        value = named.get("default", next(iter(named.values())) if len(named) == 1 else None)
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadFile(
            f"{file.name}: chat_template should be a text or a list of named templates",
            where=f"{file}: it is {kind_of(value)}",
            hint="save the tokenizer again: tokenizer.save_pretrained(DIR)",
            rule="GS006",
        )
    if len(value) > TEMPLATE_LIMIT:
        raise BadFile(
            f"{file.name}: chat_template is larger than a template ever is ({TEMPLATE_LIMIT // MIB} MiB)",
            where=str(file),
            hint="is it the right file? Copy it again from where training ran.",
            rule="GS006",
        )
    return value
