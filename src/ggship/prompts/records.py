"""What a trainer recorded of its prompts, as a chat template: its names for formats looked up, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ggship.prompts.chat import ChatTemplate
from ggship.prompts.families import family
from ggship.prompts.formats import EOS, Format, trainer_format

if TYPE_CHECKING:
    from ggship.runs.model import Run
    from ggship.runs.training import RecordedPrompt

# Axolotl's names (utils/schemas/enums.py, prompt_strategies/) that are a family here: tests/prompts holds each against
# what Axolotl renders. The others' templates lie in the saved tokenizer, where Axolotl puts them.
CHATGLM = "ChatGLM3 finetune_demo"
_AXOLOTL: Mapping[str, str] = {
    "alpaca": "alpaca-jinja",
    "chatml": "chatml",
    "gemma": "gemma",
    "gemma3": "gemma3",
    "llama3": "llama3",
    "mistral_v1": "mistral-v1",
    "mistral_v2v3": "mistral-v3",
    "mistral_v3_tekken": "mistral-v3-tekken",
    "phi_35": "phi3",
    "qwen_25": "qwen2.5",
}
_AXOLOTL_DATA: Mapping[str, str] = {
    "alpaca": "alpaca",
    "alpaca:instruct": "alpaca",
    "alpaca:chat": "alpaca-chat",
    "alpaca:chatml": "alpaca-chatml",
    "alpaca:phi": "alpaca-phi",
    "alpaca_chat": "alpaca-chat",
}


def recorded_prompt(record: RecordedPrompt, trainer: str, run: Run) -> ChatTemplate | None:
    """The chat template that the record means; None where it names what is not known here."""
    if record.kind == "tokenizer" and record.text:
        return ChatTemplate(record.text, source=f"{run.chat_template_source} of the run")
    if record.kind == "jinja":
        return ChatTemplate(record.text, source=f"the Jinja in {record.source}")
    if record.kind == "format" and trainer == "Axolotl":
        return _user_defined(dict(record.parts), record.source)
    if record.kind == "plain" and record.name != "input_output":  # whose prompts are in the data
        return replace(family("plain"), source="none: raw text was trained on")
    if record.kind == "dataset":
        known = _AXOLOTL_DATA.get(record.name) if trainer == "Axolotl" else None
        return replace(family(known), source=f"Axolotl's prompts for {record.name}") if known else None
    if record.kind != "template":
        return None
    if trainer == "Axolotl":
        if record.text:  # it sets the saved tokenizer's to the one that it names
            return ChatTemplate(record.text, source=f"{run.chat_template_source} of the run: {record.name}")
        known = _AXOLOTL.get(record.name)
        return replace(family(known), source=f"Axolotl's chat template {record.name}") if known else None
    if trainer == CHATGLM and record.name == "chatglm3":
        return replace(family("chatglm3"), source="the prompts of ChatGLM3")
    return trainer_format(trainer, record.name)


def _user_defined(parts: Mapping[str, str], source: str) -> ChatTemplate | None:
    """Axolotl's `type: {format: ...}` (prompt_strategies/user_defined.py, whose defaults these are).

    Such data are single questions; a second one is asked as the first was, after EOS.
    """
    before, mark, after = parts.get("no_input_format", "{instruction} ").partition("{instruction}")
    start, system, close = parts.get("system_format", "{system}").partition("{system}")
    if not mark or not system or any("{" in text or "}" in text for text in (before, after, start, close)):
        return None
    given = parts.get("system_prompt", "")
    head = f"{start}{given}{close}{before}" if given else before
    form = Format(head, after, EOS + before, EOS, open=start, close=close + before)
    return ChatTemplate(form.jinja(), source=f"the format in {source}")


def trained_system(record: RecordedPrompt, trainer: str) -> str | None:
    """The default system text that training really used; Axolotl's own setting of it reaches no prompt.

    (axolotl/loaders/tokenizer.py puts it in place of a text that its templates no longer have; a format has its own.)
    """
    return None if trainer == "Axolotl" else record.system
