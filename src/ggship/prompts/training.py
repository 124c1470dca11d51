"""The prompt that a run was trained on, and where that is known from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggship.prompts.chat import ChatTemplate
from ggship.prompts.tokens import TokenNames, special_tokens

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.runs.model import Run


def training_prompt(run: Run, base: Base, names: TokenNames | None = None) -> ChatTemplate | None:
    """The chat template saved with the run, else the base's; None where neither has one.

    `source` says which. Raises BadFile where a tokenizer file is damaged.
    """
    if run.chat_template:
        text = run.chat_template
        same = run.chat_template == base.chat_template
        source = f"{run.chat_template_source} of the run" + (", the same as the base's" if same else "")
    elif base.chat_template:
        text, source = base.chat_template, f"the chat template of the base {base.ref}"
    else:
        return None
    tokens = special_tokens(run, base, names)
    return ChatTemplate(text, tokens.bos, tokens.eos, source=source)
