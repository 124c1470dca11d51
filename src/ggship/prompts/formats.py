"""The formats that trainers know by name, as the strings around a conversation's texts: data in templates/chat/formats.

Cut out of what the trainer's own code renders, by scripts/record-prompts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ggship.prompts.chat import ChatTemplate
from ggship.settings import templates_dir

BOS, EOS = "⟨bos⟩", "⟨eos⟩"
"""What stands in the strings of a format for the tokenizer's own tokens."""


@dataclass(frozen=True, slots=True)
class Format:
    """What stands around the texts of a conversation.

    head: before the first question, where no system text is given (a default one is in it). open, close: around a
    system text, the first question follows; None where the format takes none. ask: after a question, up to the answer.
    next: between an answer and the next question. end: after the last answer. thought, past: before the last answer
    and before earlier ones, where these hold no thoughts of their own. strips: white space around texts is taken off.
    repeats: a system text stands before every question, after `end` and `open`.
    """

    head: str
    ask: str
    next: str
    end: str
    open: str | None = None
    close: str | None = None
    thought: str = ""
    past: str = ""
    strips: bool = False
    repeats: bool = False

    def jinja(self) -> str:
        """A chat template. Law: for the conversations that the trainer rendered, it gives the same text.

        Its switch enable_thinking, where False, puts the thought before the answer that is asked for.
        """
        text = "message['content'] | trim" if self.strips else "message['content']"
        system = "messages[0]['content'] | trim" if self.strips else "messages[0]['content']"
        if self.open is None or self.close is None:
            first = "{{ raise_exception('this format takes no system text') }}"
        else:
            first = "{{ " + _text(self.open) + " + " + system + " + " + _text(self.close) + " }}"
        given = "messages[0]['role'] == 'system'"
        after = _text(self.next)
        if self.repeats:
            again = f"{_text(self.end + (self.open or ''))} + {system} + {_text(self.close or '')}"
            after = f"({again} if {given} and messages[0]['content'] else {after})"
        # An empty system text counts as none, in LLaMA-Factory and in ms-swift alike.
        lines = [
            f"{{%- if {given} and messages[0]['content'] %}}{first}{{% else %}}{_said(self.head)}{{% endif %}}",
            f"{{%- for message in (messages[1:] if {given} else messages) %}}",
            "{%- if message['role'] == 'user' %}{{ " + text + " + " + _text(self.ask) + " }}",
            "{%- elif message['role'] == 'assistant' %}"
            + self._thought()
            + "{{ "
            + text
            + " + "
            + f"({_text(self.end)} if loop.last else {after})"
            + " }}",
            "{%- else %}{{ raise_exception('this format knows no role ' + message['role']) }}{% endif %}",
            "{%- endfor %}",
        ]
        if "<" in self.thought:
            closed = "add_generation_prompt and enable_thinking is defined and not enable_thinking"
            lines.append(f"{{%- if {closed} %}}{_said(self.thought)}{{% endif %}}")
        return "\n".join(lines)

    def _thought(self) -> str:
        if not self.thought and not self.past:
            return ""
        if "<" not in self.thought + self.past:  # Mistral's answers begin with a space
            return f"{{{{ {_text(self.thought)} if loop.last else {_text(self.past)} }}}}"
        bare = "'</think>' not in message['content']"
        return f"{{% if {bare} %}}{{{{ {_text(self.thought)} if loop.last else {_text(self.past)} }}}}{{% endif %}}"


def trainer_format(trainer: str, name: str) -> ChatTemplate | None:
    """The format of LLaMA-Factory, ms-swift or torchtune that has this name; None where either is not known.

    The special tokens are not set: they are the tokenizer's. torchtune's names are TOKENIZER[+TEMPLATE][+alpaca]: its
    prompt is made by all three (scripts/record-prompts).
    """
    data = _formats(_KEYS.get(trainer, ""))
    found = data["formats"].get(name)
    if found is None:
        return None
    text = Format(**found).jinja()
    return ChatTemplate(text, source=f"{trainer}'s format {name}, as {data['version']} has it")


def format_names(trainer: str) -> tuple[str, ...]:
    """All names that are known of that trainer, sorted."""
    return tuple(sorted(_formats(_KEYS.get(trainer, ""))["formats"]))


_KEYS: Mapping[str, str] = {
    "LLaMA-Factory": "llamafactory",
    "ms-swift": "ms-swift",
    "torchtune": "torchtune",
}


@lru_cache(maxsize=4)
def _formats(key: str) -> Mapping[str, Any]:
    if not key:
        return {"version": "", "formats": {}}
    path = templates_dir() / "chat" / "formats" / f"{key}.json"
    data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def _said(text: str) -> str:
    return "{{ " + _text(text) + " }}" if text else ""


def _text(text: str) -> str:
    """An expression of Jinja's: the text, with the tokenizer's tokens where they stood."""
    variables = {BOS: "bos_token", EOS: "eos_token"}
    parts = [variables.get(piece) or _quoted(piece) for piece in _split(text)]
    return " + ".join(parts) or "''"


def _split(text: str) -> list[str]:
    return [piece for piece in re.split(f"({BOS}|{EOS})", text) if piece]


def _quoted(text: str) -> str:
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return "'" + "".join(escapes.get(char, char) for char in text) + "'"
