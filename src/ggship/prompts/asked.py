"""The prompt of training as users' questions are put into it, whatever will carry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggship.prompts.chat import ChatTemplate
from ggship.prompts.stops import Stop, find_stops
from ggship.prompts.thinking import Thinking, match_thinking
from ggship.prompts.training import FoundPrompt, find_prompt
from ggship.prompts.trial import check_template_once

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.runs.model import Run


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """How a trained model is asked.

    found: where its prompt is from. chat: that prompt, with thoughts closed or opened as in training. ends: where an
    answer ends, with sources. special_tokens: what no answer may show. thinking: None of a model that cannot think.
    """

    found: FoundPrompt
    chat: ChatTemplate
    ends: tuple[Stop, ...]
    special_tokens: tuple[str, ...]
    thinking: Thinking | None


def asked_prompt(run: Run, base: Base, template: str | None = None) -> AskedPrompt:
    """Find the prompt of training. template: as the user names one. Raises as find_prompt and find_stops do."""
    found = find_prompt(run, base, template)
    check_template_once(found.chat)
    recorded = run.training.template
    trained, source = (recorded.thinking, recorded.source) if recorded else (None, "")
    chat, thinking = match_thinking(found.chat, trained, source)
    ends = find_stops(run, base, chat)
    tokens = (token for token in (chat.bos_token, chat.eos_token) if token)
    special = dict.fromkeys((*(end.text for end in ends), *tokens, *(thinking.forbidden if thinking else ())))
    return AskedPrompt(found, chat, ends, tuple(special), thinking)
