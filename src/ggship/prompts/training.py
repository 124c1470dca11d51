"""The prompt that a run was trained on, where that is known from, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.bases.portable import portable
from ggship.errors import PromptMismatch, UsageError
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.families import families, family
from ggship.prompts.formats import format_names, trainer_format
from ggship.prompts.llamafactory import written_by_llama_factory
from ggship.prompts.records import recorded_prompt, trained_system
from ggship.prompts.tokens import TokenNames, special_tokens
from ggship.runs.training import Confidence, RecordedPrompt

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.runs.model import Run

TEMPLATE_BYTES = 1 << 20
PREFIXES = {"llamafactory": "LLaMA-Factory", "ms-swift": "ms-swift", "torchtune": "torchtune"}
"""What may stand before a colon in --template, for a format by the name that the trainer has for it."""


class PromptUnknown(PromptMismatch):
    """Nothing tells what the prompt of training was; only the user can."""


@dataclass(frozen=True, slots=True)
class FoundPrompt:
    """A chat template, and how sure it is that training used it.

    high: the user, or the trainer's own record, says so. medium: it lies beside the adapter, or is the base's, and
    nothing says otherwise. system: the default system text that training set, None where it set none. why: in words,
    what speaks for it beyond chat.source.
    """

    chat: ChatTemplate
    confidence: Confidence
    system: str | None = None
    why: str = ""

    @property
    def words(self) -> str:
        """For the plan: where it is from, and how sure that is."""
        return f"{self.chat.source} ({self.confidence} confidence{': ' if self.why else ''}{self.why})"


def find_prompt(run: Run, base: Base, named: str | None = None, names: TokenNames | None = None) -> FoundPrompt:
    """The prompt of training: what the user names, else what the trainer recorded, else the template that it saved,
    else the base's (the order of precedence).

    Raises PromptUnknown where none is known, or the trainer names one that is not; UsageError for a name or file of the
    user's that is not there; BadFile where a tokenizer file is damaged.
    """
    if named:
        return FoundPrompt(named_prompt(named, run, base, names), "high", why="named with --template")
    found = _recorded(run) or _saved(run, base)
    if found is None:
        raise PromptUnknown(
            "no chat template is known for this run",
            where=f"neither {run.path} nor the base {base.ref} has one",
            hint="name the template of training with --template FILE (Jinja, as in tokenizer_config.json), or a family:"
            " --template chatml",
        )
    tokens = special_tokens(run, base, names)
    return replace(found, chat=replace(found.chat, bos_token=tokens.bos, eos_token=tokens.eos))


def training_prompt(run: Run, base: Base, names: TokenNames | None = None) -> ChatTemplate | None:
    """The chat template that find_prompt finds; None where there is none."""
    try:
        return find_prompt(run, base, names=names).chat
    except PromptUnknown:
        return None


def _recorded(run: Run) -> FoundPrompt | None:
    """By the trainer's own record. Raises PromptUnknown where that names what is not known here."""
    records = run.training.prompts
    if len(records) > 1:
        ways = ", ".join(sorted({record.name or record.kind for record in records}))
        raise PromptUnknown(
            "training used several prompts, and a model is served with one",
            where=f"{records[0].source}: {ways}",
            hint="name the one that users' questions are asked with: --template NAME",
        )
    if not records or (records[0].kind == "tokenizer" and not records[0].text):
        return None
    record, trainer = records[0], run.trainer.name if run.trainer else ""
    chat = recorded_prompt(record, trainer, run)
    if chat is None:
        raise PromptUnknown(
            f"{trainer or 'the trainer'} recorded the prompt {record.name or record.kind}, which ggship does not know",
            where=f"{record.source} of {run.path}",
            hint="give its Jinja with --template FILE, or a family that is the same: --template chatml",
        )
    return FoundPrompt(chat, record.confidence, trained_system(record, trainer), why=_said(record, chat))


def _said(record: RecordedPrompt, chat: ChatTemplate) -> str:
    known = written_by_llama_factory(chat.text) if record.kind == "jinja" else None
    return known or f"{record.source} says so"


def _saved(run: Run, base: Base) -> FoundPrompt | None:
    """By the chat template that lies with the run, else with the base."""
    record = run.training.template
    system = trained_system(record, run.trainer.name if run.trainer else "") if record else None
    if run.chat_template:
        known = written_by_llama_factory(run.chat_template)
        if known is not None:
            chat = ChatTemplate(run.chat_template, source=f"{run.chat_template_source} of the run")
            return FoundPrompt(chat, "high", system, why=known)
        if run.chat_template == base.chat_template:
            source = f"{run.chat_template_source} of the run, the same as the base's"
            return FoundPrompt(ChatTemplate(run.chat_template, source=source), "medium", system, why=_unsaid(run))
        chat = ChatTemplate(run.chat_template, source=f"{run.chat_template_source} of the run")
        return FoundPrompt(chat, "high", system, why="it is not the base's, so training set it")
    if base.chat_template:
        source = f"the chat template of the base {portable(base.ref)}"
        return FoundPrompt(ChatTemplate(base.chat_template, source=source), "medium", system, why=_unsaid(run))
    return None


def _unsaid(run: Run) -> str:
    if run.trainer and run.trainer.name == "LLaMA-Factory":
        return "LLaMA-Factory does not record its `template` here; name it with --template llamafactory:NAME"
    if run.trainer and run.trainer.name == "torchtune":
        return (
            "torchtune's tokenizers have prompts of their own; name training's: --template torchtune:llama3_tokenizer"
        )
    return "nothing says that training used another"


def named_prompt(ref: str, run: Run, base: Base, names: TokenNames | None = None) -> ChatTemplate:
    """The chat template that the user names: a Jinja file, a family (chatml, llama3), a trainer's (llamafactory:qwen).

    Its special tokens are those of the model; a family's own where the model's are not known. Raises UsageError for a
    file that cannot be read, and for a name that is neither.
    """
    path = Path(ref)
    prefix, colon, name = ref.partition(":")
    if not path.exists() and colon and prefix in PREFIXES:
        chat = _of_trainer(PREFIXES[prefix], prefix, name)
    elif not path.exists() and path.name == ref and path.suffix != ".jinja":
        chat = family(ref)
    else:
        chat = ChatTemplate(_read(path), source=path.name)
    tokens = special_tokens(run, base, names)
    return replace(chat, bos_token=tokens.bos, eos_token=tokens.eos) if tokens.bos or tokens.eos else chat


def _of_trainer(trainer: str, prefix: str, name: str) -> ChatTemplate:
    chat = trainer_format(trainer, name)
    if chat is None:
        from difflib import get_close_matches

        near = get_close_matches(name, format_names(trainer), n=3, cutoff=0.4)
        raise UsageError(
            f"{trainer} has no chat template named {name!r} that ggship knows",
            hint=f"did you mean {' or '.join(f'{prefix}:{one}' for one in near)}?" if near else "see docs/prompts.md",
        )
    return chat


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
