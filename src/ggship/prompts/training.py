"""The prompt that a run was trained on, and where that is known from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.bases.portable import portable
from ggship.errors import UsageError
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.families import families, family
from ggship.prompts.tokens import TokenNames, special_tokens

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.runs.model import Run

TEMPLATE_BYTES = 1 << 20


def training_prompt(run: Run, base: Base, names: TokenNames | None = None) -> ChatTemplate | None:
    """The chat template saved with the run, else the base's; None where neither has one.

    `source` says which. Raises BadFile where a tokenizer file is damaged.
    """
    if run.chat_template:
        text = run.chat_template
        same = run.chat_template == base.chat_template
        source = f"{run.chat_template_source} of the run" + (", the same as the base's" if same else "")
    elif base.chat_template:
        text, source = base.chat_template, f"the chat template of the base {portable(base.ref)}"
    else:
        return None
    tokens = special_tokens(run, base, names)
    return ChatTemplate(text, tokens.bos, tokens.eos, source=source)


def named_prompt(ref: str, run: Run, base: Base, names: TokenNames | None = None) -> ChatTemplate:
    """The chat template that the user names: a Jinja file, else a family (chatml, llama3).

    Its special tokens are those of the model; a family's own where the model's are not known. Raises UsageError for a
    file that cannot be read, and for a name that is neither.
    """
    path = Path(ref)
    if not path.exists() and path.name == ref and path.suffix != ".jinja":
        chat = family(ref)
    else:
        chat = ChatTemplate(_read(path), source=path.name)
    tokens = special_tokens(run, base, names)
    return replace(chat, bos_token=tokens.bos, eos_token=tokens.eos) if tokens.bos or tokens.eos else chat


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > TEMPLATE_BYTES:
            raise UsageError("that is too long for a chat template", where=f"{path}: {path.stat().st_size} bytes")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "the chat template cannot be read",
            where=f"{path}: {error}",
            hint=f"--template takes a Jinja file, or one of {', '.join(families())}",
        ) from error
