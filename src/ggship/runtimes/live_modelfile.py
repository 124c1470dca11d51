"""The Modelfile of a model that a server holds, whole: from the fields of /api/show, which lose nothing.

`ollama show --modelfile` is no faithful export: it drops quotes, writes parameters in random order, never REQUIRES, and
shows TEMPLATE {{ .Prompt }} for a model that has none, which would switch the model's own chat template off.
Source: Ollama 0.32.14 and 0.34.4, server/routes.go (GetModelInfo), server/images.go (Model.String), parser quote().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ggship.errors import UsageError
from ggship.modelfile import Modelfile, Scalar
from ggship.modelfile.grammar import Command, read
from ggship.modelfile.parameters import INTEGERS
from ggship.runtimes.shown import parameters

DEFAULT_TEMPLATE = "{{ .Prompt }}"
"""What Ollama shows of a model that has no TEMPLATE (template/template.go DefaultTemplate)."""


def live_modelfile(shown: Mapping[str, Any]) -> Modelfile:
    """The Modelfile that makes the same model again on the same server, whose blobs FROM and ADAPTER name.

    A TEMPLATE {{ .Prompt }} counts as none: Ollama shows it for both. Several licenses are one where the server does
    not tell where each of them ends.
    """
    system = str(shown.get("system") or "")
    messages = tuple((str(said["role"]), str(said["content"])) for said in shown.get("messages") or [])
    pairs = tuple(_pairs(parameters(shown)))
    # What is known better than the text can say it: it stands there without the quotes that it would need.
    known = [f"MESSAGE {role} {_quote(text)}" for role, text in reversed(messages)]
    known += [f"PARAMETER {name} {_quote(value)}" for name, value in pairs if isinstance(value, str)]
    rest = _without(str(shown.get("modelfile", "")), [*known, *([f"SYSTEM {_quote(system)}"] if system else [])])
    template, rest = _template(str(shown.get("template") or ""), rest)
    commands = _commands(rest)
    froms = [command.value for command in commands if command.name == "from"]
    return Modelfile(
        from_=froms[0] if froms else str((shown.get("details") or {}).get("parent_model") or ""),
        more_from=tuple(froms[1:]),
        adapter=_last(commands, "adapter"),
        draft=_last(commands, "draft"),
        template=None if template == DEFAULT_TEMPLATE else template,
        system=system or None,
        parameters=pairs,
        messages=messages,
        renderer=_last(commands, "renderer"),
        parser=_last(commands, "parser"),
        requires=str(shown.get("requires") or "") or None,
        licenses=_licenses(str(shown.get("license") or ""), commands),
    )


def _template(selected: str, rest: str) -> tuple[str | None, str]:
    """The Go TEMPLATE and the text without it. The selected one may be the GGUF's Jinja, which is no TEMPLATE."""
    line = f"TEMPLATE {_quote(selected)}\n"
    if selected and line in rest:
        return selected, rest.replace(line, "", 1)
    return _last(_commands(rest), "template"), rest


def _commands(text: str) -> list[Command]:
    """Those that can be read: what the server wrote without quotes that it needed may not be."""
    unread: list[UsageError] = []
    return [item for item in read(text, unread.append) if isinstance(item, Command)]


def _without(text: str, values: Sequence[str]) -> str:
    """The text without the last of each of these."""
    for value in values:
        before, found, after = text.rpartition(f"{value}\n")
        text = before + after if found else text
    return text


def _quote(value: str) -> str:
    """As Ollama writes a value down (parser/parser.go quote)."""
    if "\n" not in value and not value.startswith(" ") and not value.endswith(" "):
        return value
    return f'"""{value}"""' if '"' in value else f'"{value}"'


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, Scalar]]:
    """In the order of their names: Ollama's own is another each time."""
    pairs: list[tuple[str, Scalar]] = []
    for name in sorted(values):
        value = values[name]
        several = value if isinstance(value, list) else [value]
        pairs += [(name, int(each) if name in INTEGERS and isinstance(each, float) else each) for each in several]
    return pairs


def _last(commands: Sequence[Command], name: str) -> str | None:
    return next((command.value for command in reversed(commands) if command.name == name), None)


def _licenses(joined: str, commands: Sequence[Command]) -> tuple[str, ...]:
    """The texts one by one where the Modelfile tells them apart, else the one text that the server makes of them."""
    texts = tuple(command.value for command in commands if command.name == "license")
    return texts if "\n".join(texts) == joined else ((joined,) if joined else ())
