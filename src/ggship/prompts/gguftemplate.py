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

# What llama.cpp passes (common/chat.cpp: common_chat_template_direct_apply_impl, common_chat_extra_context), with a
# value that training cannot have seen by chance.
SERVER_VARIABLES: Mapping[str, Any] = {
    "enable_thinking": True,
    "date_string": "31 Jan 1999",
    "datetime": "Jan 31 1999",
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
    for name, value in SERVER_VARIABLES.items():
        if name not in chat.arguments and name in text:
            kept = replace(chat, text=text)
            passed = replace(kept, arguments={**chat.arguments, name: value})
            renamed = replace(passed, text=_renamed(text, name))
            if _prompts(passed) != _prompts(kept) == _prompts(renamed):
                text = renamed.text
    settings = ["{%- set " + name + " = " + _written(value) + " %}" for name, value in sorted(chat.arguments.items())]
    return "".join(settings) + text


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
