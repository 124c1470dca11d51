"""What the commands of a Modelfile say together: files, names, and a template that serves the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ggship.modelfile.grammar import Command
from ggship.modelfile.rules import Problem, problem

# golang.org/x/mod/semver IsValid, with or without its "v" (parser/parser.go, "requires").
_NUMBER, _PART = r"(?:0|[1-9][0-9]*)", r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"v?{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}(?:-{_PART}(?:\.{_PART})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?\Z"
)
_BOS = ("<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "<｜begin▁of▁sentence｜>", "[gMASK]<sop>")
_BARE = re.compile(r"\s*\{\{-?\s*\.Prompt\s*-?\}\}\s*\Z")
_SHOWN = 5
_OPENS = ("if", "range", "with", "block", "define")
_ACTION = re.compile(
    r"\{\{(?:-\s)?\s*/\*.*?\*/\s*-?\}\}"
    r"|\{\{(?!(?:-\s)?\s*/\*)"  # a comment without its end is no other action: it would be looked for from each {{
    r"(?P<body>(?:\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`|'(?:[^'\\\n]|\\.)*'|(?!\}\})[^\"`'])*)\}\}",
    re.DOTALL,
)
_TRAINED = ("adapter_config.json", "adapter_model.safetensors", "adapters.safetensors", "adapter_model.bin")


def what_it_says(commands: Sequence[Command], folder: Path | None) -> Iterator[Problem]:
    """Problems that show only where commands, or the files they name, are seen together."""
    yield from _models(commands, folder)
    for command in commands:
        if command.name == "requires" and not _SEMVER.match(command.value):
            yield problem("MF306", command.line, f"REQUIRES {command.value}")
        elif command.name == "adapter":
            yield problem("MF301", command.line, f"ADAPTER {command.value}")
    template = next((command for command in reversed(commands) if command.name == "template"), None)
    if template is not None and template.value:
        yield from _template(template, {command.name for command in commands if command.value})


def _models(commands: Sequence[Command], folder: Path | None) -> Iterator[Problem]:
    froms = [command for command in commands if command.name == "from"]
    names = {value for value in {command.value for command in froms} if not _is_path(value, folder)}
    for command in commands:
        if command.name not in ("from", "adapter", "draft"):
            continue
        is_path = command.name != "from" or command.value not in names
        if is_path and folder is not None:
            yield from _file(command, folder)
        if is_path and command.name != "adapter" and set(command.value) & set("*?["):
            yield problem("MF312", command.line, f"{command.name.upper()} {command.value}")
    if len(froms) > 1 and names:
        shown = ", ".join(command.value for command in froms[:_SHOWN])
        yield problem("MF305", froms[1].line, f"{shown} and {len(froms) - _SHOWN} more" if froms[_SHOWN:] else shown)


def _is_path(value: str, folder: Path | None) -> bool:
    """Whether Ollama would take it for a file: one is there, or it looks like none of a model's names."""
    looks = value.startswith((".", "/", "~", "\\")) or value.lower().endswith((".gguf", ".bin", ".safetensors"))
    return looks or (folder is not None and _there(value, folder) is not None)


def _file(command: Command, folder: Path) -> Iterator[Problem]:
    name, value = command.name.upper(), command.value
    path = _there(value, folder)
    if path is None:
        if not set(value) & set("*?["):
            yield problem("MF302", command.line, f"{name} {value}")
        return
    if (path.is_dir() and any((path / left).exists() for left in _TRAINED)) or path.name in _TRAINED:
        yield problem("MF303", command.line, f"{name} {value}")
    elif name == "FROM" and not value.startswith((".", "/", "~")) and not path.suffix:
        yield problem("MF304", command.line, f"FROM {value}")


def _there(value: str, folder: Path) -> Path | None:
    """The file of that name, relative to the Modelfile; None where there is none, or it cannot be told."""
    try:
        path = folder / Path(value).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long, an unknown user, a NUL
        return None


def _template(template: Command, said: set[str]) -> Iterator[Problem]:
    text, line = template.value, template.line
    wrong = unbalanced(text)
    if wrong:
        yield problem("MF307", line, wrong)
        return
    actions = " ".join(found["body"] or "" for found in _ACTION.finditer(text))
    if "system" in said and not re.search(r"\.(?:System|Messages)\b", actions):
        yield problem("MF308", line, "neither .System nor .Messages is in it")
    bos = next((bos for bos in _BOS if text.lstrip().startswith(bos)), None)
    if bos:
        yield problem("MF309", line, bos)
    if _BARE.match(text):
        yield problem("MF310", line, text.strip())
    if "renderer" in said:
        yield problem("MF311", line, "the file has a RENDERER too")


def unbalanced(text: str) -> str:
    """What Go's text/template would refuse first: an action that is not closed, a block without its end; "" for none.

    Not a whole parser: what an action says within is not looked at.
    """
    opened: list[tuple[str, int]] = []
    at, line = 0, 1
    while (start := text.find("{{", at)) >= 0:
        line += text.count("\n", at, start)
        found = _ACTION.match(text, start)
        if found is None:
            return f"in its line {line} an action is not closed"
        word = (re.match(r"(?:-\s)?\s*([a-z]+)\b", found["body"] or "") or ["", ""])[1]
        if word in _OPENS:
            opened.append((word, line))
        elif word in ("end", "else", "break", "continue") and not opened:
            return f"in its line {line} stands {word} outside of any block"
        elif word == "end":
            opened.pop()
        at = found.end()
        line += text.count("\n", start, at)
    return f"{opened[-1][0]} of its line {opened[-1][1]} has no end" if opened else ""


def literal_text(template: str) -> str:
    """A template without its actions."""
    parts, at = [], 0
    while (start := template.find("{{", at)) >= 0 and (end := template.find("}}", start)) >= 0:
        parts.append(template[at:start])
        at = end + 2
    return "".join([*parts, template[at:]])
