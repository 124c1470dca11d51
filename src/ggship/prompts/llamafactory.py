"""The chat template that LLaMA-Factory writes from its own, told by its text."""

from __future__ import annotations

import re
from functools import lru_cache

from ggship.errors import BadFile
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.families import families
from ggship.prompts.formats import BOS, EOS, format_names, trainer_format
from ggship.runtimes.model import Message

# Where it leaves a hole, LLaMA-Factory puts an expression made of its template's texts (data/template.py,
# _get_jinja_template, in versions 0.9.0 to 0.9.5; of Llama2Template the system text stands with the first question).
_START = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% endif %}"
)
_GENERATED = re.compile(
    r"(?:\{\{ .*? \}\})?(?:\{% set system_message = '.*?' %\})?" + re.escape(_START) + r"(?!.*add_generation_prompt)",
    re.DOTALL,
)
_S, _U, _A, _V = "zqSYSTEMqz", "zqUSERONEqz", "zqREPLYONEqz", "zqUSERTWOqz"
_TALK = (("user", _U), ("assistant", _A), ("user", _V))


def written_by_llama_factory(text: str) -> str | None:
    """What LLaMA-Factory calls the template that it wrote this from, in words; None where it wrote none of it.

    Told by rendering: several of its names stand for one and the same format.
    """
    if not _GENERATED.match(text):
        return None
    try:
        shown = _shown(ChatTemplate(text))
    except BadFile:
        return None
    names = sorted(filter(lambda name: _matches(name, shown), format_names("LLaMA-Factory")), key=_fame)
    if not names:
        return "LLaMA-Factory wrote it, from a template that ggship does not know by name"
    return f"LLaMA-Factory wrote it from its template {' or '.join(names[:3])}{' or others' if names[3:] else ''}"


def _fame(name: str) -> tuple[bool, str]:
    """The names that are known elsewhere too come first."""
    return name not in families(), name


def _shown(chat: ChatTemplate) -> tuple[str, str]:
    turns = [Message(role=role, content=content) for role, content in _TALK]
    return chat.render(turns), chat.render([Message(role="system", content=_S), *turns])


def _matches(name: str, shown: tuple[str, str]) -> bool:
    """Whether the format renders as shown, with whatever the tokenizer's own tokens are."""
    return all(re.fullmatch(pattern, text) for pattern, text in zip(_patterns(name), shown, strict=True))


@lru_cache(maxsize=256)
def _patterns(name: str) -> tuple[str, ...]:
    chat = trainer_format("LLaMA-Factory", name)
    assert chat is not None
    try:
        texts = _shown(ChatTemplate(chat.text, BOS, EOS))
    except BadFile:
        return ("(?!)", "(?!)")
    token = r"(?:<[^\n]{1,40}?>|)"
    return tuple(re.escape(text).replace(BOS, token).replace(EOS, token) for text in texts)
