"""What a Modelfile says, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Modelfile:
    """All that a Modelfile can say. Law: parse(render(m)) == m wherever not_carried(m) is empty.

    from_: a model's name, or a path (relative to the Modelfile) of a GGUF file; more_from: further FROM lines, in
    order (a projector, the rest of a split GGUF). adapter, draft: paths of GGUF files.
    template is Go template text. None means that the file does not say; "" that it says nothing in so many words.
    parameters: name and value, in order; `stop` may come several times, of any other the last counts.
    messages: role and text. comments: the lines at the top, without "#".
    """

    from_: str
    more_from: tuple[str, ...] = ()
    adapter: str | None = None
    draft: str | None = None
    template: str | None = None
    system: str | None = None
    parameters: tuple[tuple[str, Scalar], ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    licenses: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings, in order."""
        return tuple(str(value) for name, value in self.parameters if name == "stop")

    def document(self) -> dict[str, Any]:
        """As JSON: all that it says, whole, under the names of the commands; None where it does not say."""
        return {
            "from": [self.from_, *self.more_from],
            **{name: getattr(self, name) for name in ONCE},
            "parameters": [{"name": name, "value": value} for name, value in self.parameters],
            "messages": [{"role": role, "content": text} for role, text in self.messages],
            "licenses": list(self.licenses),
        }


ROLES = ("system", "user", "assistant")
"""Who may speak in a MESSAGE line (Ollama: parser/parser.go isValidMessageRole; lower case only)."""

ONCE = ("adapter", "draft", "template", "system", "renderer", "parser", "requires")
"""Commands that say one thing, so that a second one would take the place of the first."""
