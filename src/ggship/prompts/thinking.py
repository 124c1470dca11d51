"""Models that can think aloud: whether the prompt that closes their thoughts is the one they were trained on."""

from __future__ import annotations

from dataclasses import replace

from ggship.errors import BadFile
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.probes import PROBES
from ggship.runtimes.model import ENABLE_THINKING, Message

SWITCH = "enable_thinking"
"""The variable of chat templates that turns thoughts on and off."""

_ANSWER = "An agreement that the law enforces."


def thoughts_closed(chat: ChatTemplate) -> ChatTemplate:
    """The template with thinking switched off, as endpoints ask, where training's answers follow just that prompt.

    Qwen3 trained on plain answers saw empty thoughts before each of them: the prompt that ends with those is the prompt
    of training, and leaves the model nothing to think. SmolLM3 changes its system text with the switch: there the two
    differ, the template is returned as it is, and no server's switch must reach it (see gguf_chat_template).
    Law: for every probe, the training text (the probe, then an answer) begins with the prompt.
    """
    if SWITCH not in chat.text or SWITCH in chat.arguments:
        return chat
    closed = replace(chat, arguments={**chat.arguments, SWITCH: ENABLE_THINKING})
    changed = False
    for probe in PROBES:
        try:
            prompt, usual = closed.render(probe.messages), chat.render(probe.messages)
            answered = [*probe.messages, Message(role="assistant", content=_ANSWER)]
            trained = chat.render(answered, add_generation_prompt=False)
        except BadFile:
            continue
        if not trained.startswith(prompt):
            return chat
        changed |= prompt != usual
    return closed if changed else chat
