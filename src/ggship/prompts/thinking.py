"""Models that can think aloud: the prompt that closes or opens their thoughts is to be the one of training."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ggship.errors import BadFile
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.probes import PROBES
from ggship.runtimes.model import ENABLE_THINKING, Message

SWITCH = "enable_thinking"
"""The variable of chat templates that turns thoughts on and off."""

MARKS = ("<think>", "</think>")
"""Qwen3, DeepSeek-R1, GLM-Z1 and their kin put their thoughts between these."""

_ANSWER = "An agreement that the law enforces."
_OPENED = re.compile(r"<think>\s*\Z")
_CLOSED = re.compile(r"<think>\s*</think>\s*\Z")
# A thought opened in a template's own text: `'<｜Assistant｜><think>\n'`, with the line feed as Jinja writes it.
_OPENING = re.compile(r"<think>(?:\\n|\n)*")


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model that can think is asked.

    prompt: "closed" ends with empty thoughts, "opened" begins some, "free" leaves it to the model. ask: what endpoints
    send as `think`. why: in words, for the plan.
    """

    prompt: str
    ask: bool
    why: str

    @property
    def forbidden(self) -> tuple[str, ...]:
        """What no answer may show: a model whose thoughts were closed has none to tell."""
        return MARKS if self.prompt == "closed" else ()

    def document(self) -> dict[str, Any]:
        """As it stands in ggship.json."""
        return {"prompt": self.prompt, "think": self.ask, "why": self.why}


def match_thinking(
    chat: ChatTemplate, trained: bool | None = None, source: str = ""
) -> tuple[ChatTemplate, Thinking | None]:
    """The template as training's answers want it, and how that was decided; None of a template that cannot think.

    trained: enable_thinking as the trainer recorded it, with its source; it counts more than what the template shows.
    Otherwise thoughts are closed, or not opened, where training's text (a probe, then an answer) has it so.
    """
    if SWITCH not in chat.text and MARKS[0] not in chat.text:
        return chat, None
    if SWITCH in chat.arguments:
        return chat, _seen(chat, "as the template was given")
    if trained is not None and SWITCH in chat.text:
        chosen = replace(chat, arguments={**chat.arguments, SWITCH: trained})
        return chosen, _seen(chosen, f"{SWITCH} was {str(trained).lower()} in training ({source})", ask=trained)
    closed = thoughts_closed(chat)
    if closed is not chat:
        return closed, _seen(closed, "empty thoughts stand before training's answers, so the prompt ends with them")
    unopened = _unopened(chat)
    if unopened is not None:
        return unopened, _seen(unopened, f"training's answers had no {MARKS[0]}, so the prompt does not open one")
    if not _begins(chat, chat):
        return chat, _seen(chat, "training's answers do not begin as this prompt ends: compare answers before you ship")
    return chat, _seen(chat, "as the template has it, which is how training's answers begin")


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
    return closed if _begins(closed, chat) and _prompts(closed) != _prompts(chat) else chat


def _unopened(chat: ChatTemplate) -> ChatTemplate | None:
    """The template whose prompt opens no thought, where it opened one and training's answers had none.

    DeepSeek-R1's prompt ends with <think>, but its answers have none: a model trained on them never saw that prompt.
    Law: prompts are those of before without their last <think>, training's text is the same, and begins with them.
    """
    if _begins(chat, chat) or not all(_OPENED.search(prompt) for prompt in _prompts(chat)):
        return None
    wanted = [_OPENED.sub("", prompt) for prompt in _prompts(chat)]
    for found in reversed(list(_OPENING.finditer(chat.text))):
        tried = replace(chat, text=chat.text[: found.start()] + chat.text[found.end() :])
        try:
            if _prompts(tried) == wanted and _answered(tried) == _answered(chat) and _begins(tried, chat):
                return tried
        except BadFile:  # what was cut out stood in the template's logic
            continue
    return None


def _begins(asked: ChatTemplate, trained: ChatTemplate) -> bool:
    """Whether the training text of every probe begins with its prompt; what the template refuses counts for nothing."""
    pairs = zip(_texts(asked, answer=False), _texts(trained, answer=True), strict=True)
    return all(text.startswith(prompt) for prompt, text in pairs if prompt is not None and text is not None)


def _prompts(chat: ChatTemplate) -> list[str]:
    return [text for text in _texts(chat, answer=False) if text is not None]


def _answered(chat: ChatTemplate) -> list[str]:
    return [text for text in _texts(chat, answer=True) if text is not None]


def _texts(chat: ChatTemplate, *, answer: bool) -> list[str | None]:
    """Each probe rendered: as a prompt, or with an answer behind it as training had it; None where it is refused."""
    texts: list[str | None] = []
    for probe in PROBES:
        turns = [*probe.messages, Message(role="assistant", content=_ANSWER)] if answer else probe.messages
        try:
            texts.append(chat.render(turns, add_generation_prompt=not answer))
        except BadFile:
            texts.append(None)
    return texts


def _seen(chat: ChatTemplate, why: str, *, ask: bool = ENABLE_THINKING) -> Thinking:
    prompts = _prompts(chat)
    closed = bool(prompts) and all(_CLOSED.search(prompt) for prompt in prompts)
    opened = bool(prompts) and all(_OPENED.search(prompt) for prompt in prompts)
    prompt = "closed" if closed else "opened" if opened else "free"
    words = {"closed": "off", "opened": "on", "free": "left to the model"}[prompt]
    return Thinking(prompt, ask or prompt == "opened", f"{words}: {why}")
