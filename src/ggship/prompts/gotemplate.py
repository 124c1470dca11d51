"""A chat template said as a Go TEMPLATE for Ollama: written from its pieces, kept only where it gives the same text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ggship.errors import BadFile, UsageError
from ggship.modelfile.grammar import is_print
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.gorender import simulate
from ggship.prompts.pieces import NoPattern, Pieces, find_pieces
from ggship.prompts.probes import PROBES, Probe


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """A Go TEMPLATE that renders every probe as the chat template does (but for those that it refuses), the BOS apart.

    limits: what it cannot do that the chat template can, in words.
    """

    text: str
    pieces: Pieces
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotInGo:
    """No Go TEMPLATE was found that says the same; the GGUF's own chat template is the way.

    probe: the first that differs, with what training rendered and what the TEMPLATE would; "" where none got so far.
    """

    reason: str
    probe: str = ""
    expected: str = ""
    got: str = ""


def go_template(
    chat: ChatTemplate, *, server_adds_bos: bool = True, probes: tuple[Probe, ...] = PROBES
) -> GoTemplate | NotInGo:
    """Say `chat` as a Go TEMPLATE.

    server_adds_bos: whether the tokenizer puts the BOS token in front by itself (`tokenizer.ggml.add_bos_token`); then
    the TEMPLATE has none. Raises BadFile where the chat template does not render a single question.
    Law: for every probe that the chat template renders, pieces.bos + simulate(text) == chat.render(probe).
    """
    try:
        pieces = find_pieces(chat, without_bos=server_adds_bos)
    except NoPattern as error:
        return NotInGo(str(error))
    if pieces.dated:
        return NotInGo("today's date is in the prompt, and a Go TEMPLATE cannot write it the same way")
    text = write_go(pieces)
    for probe in probes:
        try:
            expected = chat.render(probe.messages)
        except BadFile:
            continue
        try:
            got = pieces.bos + simulate(text, probe.messages)
        except UsageError as error:  # a template of ours that we cannot read is one we cannot vouch for
            return NotInGo(str(error), probe.name, expected)
        if got != expected:
            return NotInGo("its turns follow no pattern that a Go TEMPLATE repeats", probe.name, expected, got)
    return GoTemplate(text, pieces, _limits(chat, pieces))


def _limits(chat: ChatTemplate, pieces: Pieces) -> tuple[str, ...]:
    limits: list[str] = []
    if pieces.trims:
        limits.append("training stripped white space around texts; a Go TEMPLATE cannot")
    if pieces.system_place == "refused":
        limits.append("training knew no system text; one is put in front of the first question")
    if "tools" in chat.text or "tool_call" in chat.text:
        limits.append("tools are left out")
    if "<think>" in chat.text:
        limits.append("thinking is left out")
    return tuple(limits)


def write_go(pieces: Pieces) -> str:
    """The Go text for these pieces, over `.Messages`. Every character of it survives Ollama's Modelfile grammar."""
    system, user, assistant = pieces.system, pieces.user, pieces.assistant
    parts = [literal(pieces.start)]
    if pieces.without_system:
        parts += [
            '{{ range $i, $m := .Messages }}{{ if and (eq $i 0) (ne .Role "system") }}',
            literal(pieces.without_system),
            "{{ end }}{{ end }}",
        ]
    turn_open = literal(user.open)
    if pieces.system_place == "own turn":
        said = _said(system.open, system.close)
        parts.append('{{ range .Messages }}{{ if eq .Role "system" }}' + _unless_empty(said, pieces.empty_system))
    elif pieces.system_place == "last user":
        seen = _unless_empty("{{ $system = true }}", pieces.empty_system)
        parts.append('{{ $system := false }}{{ range $i, $m := .Messages }}{{ if eq .Role "system" }}' + seen)
        last = "{{ if and $system (eq (len (slice $.Messages $i)) 1) }}"
        turn_open += last + literal(system.open) + "{{ $.System }}" + literal(system.close) + "{{ end }}"
    else:
        said = _unless_empty(_said(system.open, system.close) + "{{ $open = true }}", pieces.empty_system)
        parts.append('{{ $open := false }}{{ range .Messages }}{{ if eq .Role "system" }}' + said)
        turn_open = "{{ if not $open }}" + turn_open + "{{ end }}{{ $open = false }}" if user.open else ""
    parts.append('{{ else if eq .Role "user" }}' + turn_open + "{{ .Content }}" + literal(user.close))
    parts.append('{{ else if eq .Role "assistant" }}' + _said(assistant.open, assistant.close))
    parts.append("{{ end }}{{ end }}")
    parts.append(literal(pieces.generation))
    return "".join(parts)


def _unless_empty(said: str, empty: str | None) -> str:
    if empty is None:
        return said
    return "{{ if .Content }}" + said + ("{{ else }}" + literal(empty) if empty else "") + "{{ end }}"


def _said(before: str, after: str) -> str:
    return literal(before) + "{{ .Content }}" + literal(after)


# What is never left as it stands: braces that Go would take for an action, quotes that would end a Modelfile's value.
_ODD = re.compile(r'\{\{+|\}\}+|"""|[^\n\t]', re.DOTALL)
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def literal(text: str) -> str:
    """Text as it stands in a Go template: what Go or the Modelfile grammar would change is put into a string."""

    def one(found: re.Match[str]) -> str:
        part, following = found.group(), text[found.end() : found.end() + 1]
        # A brace before an action would open it one brace too early; these may all be followed by one.
        early = part == "{" and (not following or not is_print(following) or following in '}"')
        return _quoted(part) if early or len(part) > 1 or not is_print(part) else part

    return _ODD.sub(one, text)


def _quoted(text: str) -> str:
    inner = "".join(_ESCAPES.get(char) or _escaped(char) for char in text)
    return '{{ "' + inner + '" }}'


def _escaped(char: str) -> str:
    if is_print(char):
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
