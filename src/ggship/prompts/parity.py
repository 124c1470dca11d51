"""The proof that a server renders the prompt of training: every probe compared, every difference shown by its bytes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ggship.prompts.chat import ChatTemplate, TemplateRefused
from ggship.prompts.probes import PROBES, TOOLS, WEATHER, Probe
from ggship.runtimes.model import Message, Tools

Render = Callable[[Sequence[Message]], str | None]
"""What a server makes of a conversation (Endpoint.render); None where it cannot tell."""

RenderTools = Callable[[Sequence[Message], Tools], "str | None"]
"""The same of a conversation with tools."""

_AROUND = 24  # characters shown before a difference
_SHOWN = 16  # and after it


@dataclass(frozen=True, slots=True)
class Difference:
    """One probe that the server renders otherwise. at: the first character that differs; byte: the same in UTF-8.

    got is None where the server could not tell what it renders.
    """

    probe: str
    expected: str
    got: str | None

    @property
    def at(self) -> int:
        """How many characters are alike from the start."""
        got = self.got or ""
        shorter = min(len(self.expected), len(got))
        return next((at for at in range(shorter) if self.expected[at] != got[at]), shorter)

    @property
    def byte(self) -> int:
        """How many bytes of UTF-8 are alike from the start."""
        return len(self.expected[: self.at].encode("utf-8", "surrogatepass"))

    def __str__(self) -> str:
        if self.got is None:
            return f"{self.probe}: the server does not say what it renders"
        lines = [f"{self.probe}: differs at character {self.at}, byte {self.byte}"]
        if self.at:
            lines.append(f"  after    {self.expected[max(0, self.at - _AROUND) : self.at]!r}")
        for label, text in (("training", self.expected), ("server", self.got)):
            rest = text[self.at : self.at + _SHOWN]
            cut = "..." if len(text) > self.at + _SHOWN else ""
            lines.append(f"  {label:<8} {rest!r}{cut}  {_named(text[self.at : self.at + 1])}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class PromptProof:
    """What the comparison gave. probes: how many were compared; equal: how many of them are; skipped: names of those
    that the template itself refuses. by: "text", or "number" (of tokens) where the server does not say what it renders.
    Holds only where something was compared and all of it is equal.
    """

    probes: int
    equal: int
    differences: tuple[Difference, ...] = ()
    skipped: tuple[str, ...] = ()
    by: str = "text"

    @property
    def holds(self) -> bool:
        """Whether the server renders the prompt of training."""
        return self.probes > 0 and self.equal == self.probes

    @property
    def silent(self) -> bool:
        """Whether the server said of no conversation what it renders."""
        return bool(self.differences) and not self.equal and all(found.got is None for found in self.differences)

    def document(self) -> dict[str, Any]:
        """As it stands in ggship.json."""
        return {
            "probes": self.probes,
            "equal": self.equal,
            "by": self.by,
            "skipped": list(self.skipped),
            "differences": [
                {
                    "probe": found.probe,
                    "at": found.at,
                    "byte": found.byte,
                    "training": found.expected,
                    "server": found.got,
                }
                for found in self.differences
            ],
        }


def prove_prompts(
    chat: ChatTemplate,
    render: Render,
    *,
    system: str | None = None,
    adds_bos: bool | None = None,
    probes: Sequence[Probe] = PROBES,
    render_tools: RenderTools | None = None,
) -> PromptProof:
    """Compare every probe's prompt of training with what the server renders.

    system: the served model's SYSTEM, which stands in front of a conversation that has none. adds_bos: whether the
    server puts the BOS token in front of what it rendered (`server_adds_bos`), so that the one of training must not
    stand there, and must where it does not; None where that is not known: then one is left out of the comparison on
    either side. render_tools: for a model that the server gives tools to; compared where the template knows them. What
    these raise is not caught.
    """
    token = chat.bos_token or ""
    skipped: list[str] = []
    differences: list[Difference] = []
    telling = True  # one that does not tell once is not asked again
    for probe in probes:
        messages = probe.messages
        try:
            expected = chat.render(with_system(messages, system))
        except TemplateRefused:
            skipped.append(probe.name)
            continue
        got = render(messages) if telling else None
        telling = got is not None
        if got is None or not _same(expected, got, token, adds_bos):
            differences.append(Difference(probe.name, expected, got))
    compared = len(probes) - len(skipped)
    if render_tools is not None and "tools" in chat.text:
        try:
            expected = chat.render(with_system(TOOLS.messages, system), tools=[WEATHER])
        except TemplateRefused:
            skipped.append(TOOLS.name)
        else:
            compared += 1
            got = render_tools(TOOLS.messages, [WEATHER]) if telling else None
            if got is None or not _same(expected, got, token, adds_bos):
                differences.append(Difference(TOOLS.name, expected, got))
    return PromptProof(compared, compared - len(differences), tuple(differences), tuple(skipped))


def _same(expected: str, got: str, bos: str, adds_bos: bool | None) -> bool:
    if adds_bos is None:
        return expected.removeprefix(bos) == got.removeprefix(bos)
    if adds_bos:
        # The one that Ollama itself takes off again before it asks (llm/llama_server.go, completionPrompt).
        return expected.removeprefix(bos) == got.removeprefix("<bos>" if bos == "<bos>" else "")
    return expected == got


def with_system(messages: list[Message], system: str | None) -> list[Message]:
    """The messages, with the served model's SYSTEM in front where they bring none."""
    if system and messages[0]["role"] != "system":
        return [Message(role="system", content=system), *messages]
    return messages


def _named(char: str) -> str:
    if not char:
        return "(ends here)"
    raw = " ".join(f"{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    return f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')} [{raw}]"
