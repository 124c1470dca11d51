"""The conversations on which prompts are compared."""

from __future__ import annotations

from dataclasses import dataclass

from ggship.runtimes.model import Message


@dataclass(frozen=True, slots=True)
class Probe:
    """A conversation with a name. It ends with the user, so that the model is to answer."""

    name: str
    turns: tuple[tuple[str, str], ...]

    @property
    def messages(self) -> list[Message]:
        """The conversation as endpoints and templates take it."""
        return [Message(role=role, content=content) for role, content in self.turns]


def _user(name: str, text: str) -> Probe:
    return Probe(name, (("user", text),))


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place, now.",
        "parameters": {
            "type": "object",
            "required": ["place"],
            "properties": {"place": {"type": "string", "description": "A town, \u6cd5\u5170\u514b\u798f"}},
        },
    },
}
"""A function, its fields in the order in which Ollama writes them (api/types.go, Tool): it sorts what it is given."""

TOOLS = Probe("tools", (("user", "What is the weather in Frankfurt?"),))
"""Asked with WEATHER, where the template knows tools and the server takes them."""

PROBES: tuple[Probe, ...] = (
    _user("single turn", "What is a contract?"),
    Probe("with system", (("system", "Answer in one sentence."), ("user", "What is a contract?"))),
    Probe(
        "several turns",
        (
            ("user", "What is a contract?"),
            ("assistant", "An agreement that the law enforces."),
            ("user", "Must it be written?"),
            ("assistant", "Mostly not."),
            ("user", "When must it?"),
        ),
    ),
    Probe(
        "several turns with system",
        (
            ("system", "Answer in one sentence."),
            ("user", "What is a contract?"),
            ("assistant", "An agreement that the law enforces."),
            ("user", "Must it be written?"),
        ),
    ),
    Probe("empty system", (("system", ""), ("user", "What is a contract?"))),
    _user("braces", "Fill in {{ name }} and {% if x %}{{ .Content }}{% endif %}, {# not a comment #} {}."),
    _user("quotes and backslashes", 'He said "no", \'\'\'yes\'\'\' and """maybe""" in C:\\new\\table; \\n stays \\n.'),
    _user("newlines", "First line\nsecond line\n\nfourth line\n\tindented\nlast"),
    Probe(
        "Chinese",
        (
            ("system", "你是一名法律顾问。\n\u3000\u3000回答要简明。"),
            ("user", "合同必须采用书面形式吗？\n\u3000\u3000请说明理由，谢谢！"),
            ("assistant", "不一定：口头合同\u3000同样有效。"),
            ("user", "那么“定金”和“订金”有何区别？"),
        ),
    ),
    _user("emoji", "👩\u200d⚖️ and 🏳️\u200d🌈 signed it ✍🏽 – naïve café, e\u0301, \u00a0§\u00a012."),
    _user("angle brackets", "Is a < b > c, <b>bold</b> & odd? ### Not a heading"),
)
"""Every probe starts and ends with visible characters: a template may strip the rest, and a Go TEMPLATE cannot.

No template's own markers are in them.
"""
