"""The Jinja text for a GGUF's `tokenizer.chat_template`, made proof against what a server passes that training did not.

llama.cpp gives every template variables of its own: today's date, and that thinking is on (common/chat.cpp). Llama 3.1
then says another date than in training, and templates whose default is not to think open a thought.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ggship.errors import BadFile
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.probes import PROBES
from ggship.prompts.thinking import SWITCH

# What llama.cpp passes (common/chat.cpp: common_chat_template_direct_apply_impl, common_chat_extra_context): either
# way for the switch, which the one who asks may turn, else a value that training cannot have seen by chance.
SERVER_VARIABLES: Mapping[str, tuple[Any, ...]] = {
    SWITCH: (True, False),
    "date_string": ("31 Jan 1999",),
    "datetime": ("Jan 31 1999",),
}
_BLOCK = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)


def gguf_chat_template(chat: ChatTemplate) -> str:
    """The Jinja text that gives the prompt of training under llama.cpp too, as far as its own variables go.

    What training passed (chat.arguments) is set in front. A variable that a server passes, training did not, and the
    prompt depends on is renamed, so that the template finds it undefined as training did; the text is otherwise kept
    byte for byte. Law: for every probe, the prompt is chat.render(probe), with and without SERVER_VARIABLES.
    Where renaming would break that (the name stands in texts), the template is left as it is.
    """
    text = chat.text
    for name, values in SERVER_VARIABLES.items():
        if name not in chat.arguments and name in text:
            text = _proof_against(replace(chat, text=text), name, values)
    settings = ["{%- set " + name + " = " + _written(value) + " %}" for name, value in sorted(chat.arguments.items())]
    # A newline after a block is dropped (trim_blocks); spaces count as the start of a line only where they are.
    between = "\n" if settings and text[:1].isspace() else ""
    return "".join(settings) + between + text


def _proof_against(chat: ChatTemplate, name: str, values: tuple[Any, ...]) -> str:
    """The text, with the variable renamed where one of these values changes a prompt and renaming mends all of them."""
    wanted = _prompts(chat)
    passed = [replace(chat, arguments={**chat.arguments, name: value}) for value in values]
    if all(_prompts(one) == wanted for one in passed):
        return chat.text
    renamed = _renamed(chat.text, name)
    return renamed if all(_prompts(replace(one, text=renamed)) == wanted for one in passed) else chat.text


def _renamed(text: str, name: str) -> str:
    """Rename a variable inside Jinja's blocks: not in quotes, not as an attribute."""
    word = re.compile(rf"(?<![\w.'\"]){re.escape(name)}(?![\w'\"])")
    return _BLOCK.sub(lambda block: word.sub(f"trained_{name}", block.group()), text)


def _prompts(chat: ChatTemplate) -> list[str]:
    prompts = []
    for probe in PROBES:
        try:
            prompts.append(chat.render(probe.messages))
        except BadFile as error:
            prompts.append(error.message)
    return prompts


def _written(value: Any) -> str:
    """A value as Jinja writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False)
