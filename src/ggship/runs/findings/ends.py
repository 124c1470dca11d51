"""Findings on where answers end: whether training can have shown the model how to stop."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.errors import BadFile
from ggship.runs.files import MIB, read_head
from ggship.runs.findings.catalogue import RULES
from ggship.runs.findings.model import Finding
from ggship.runs.model import Run

if TYPE_CHECKING:
    from ggship.bases.model import Base

_LIMIT = 4 * MIB
# These write the end of an answer themselves, whatever the saved chat template says, and mask padding by its place and
# not by its token (their own collators).
_OWN_ENDS = ("LLaMA-Factory", "Axolotl", "ms-swift", "torchtune", "mlx-lm", "ChatGLM3 finetune_demo")
# Until then SFTTrainer gave pad_token = eos_token to transformers' DataCollatorForLanguageModeling, which takes every
# pad token out of the labels (trl 0.15.2 and 0.16.1, trainer/sft_trainer.py).
_TRL_OWN_COLLATOR = (0, 16)


def what_ends_answers(run: Run, base: Base) -> Iterator[Finding]:
    """Nothing in the files of a run proves that it never saw an end: these are signs of it, and the model is asked."""
    from ggship.prompts.chat import TemplateTooLarge
    from ggship.prompts.stops import answers_end, end_marks
    from ggship.prompts.tokens import special_tokens
    from ggship.prompts.training import training_prompt

    trainer = run.trainer.name if run.trainer is not None else ""
    if trainer in _OWN_ENDS and trainer != "torchtune":
        return
    tokenizer = _tokenizer(run)
    try:
        chat = training_prompt(run, base)
        end = answers_end(chat) if chat is not None else None
        ends = special_tokens(run, base).ends
    except (BadFile, TemplateTooLarge):
        return  # what is wrong with those files is said where they are needed
    if trainer == "torchtune" and (end != "" or not _by_its_tokenizer(run)):
        return  # one of its tokenizers, phi4's, writes nothing behind an answer (models/phi4/_tokenizer.py, add_eos)
    marks = end_marks(end, ends) if end is not None else ()
    if end is not None and not marks and tokenizer.get("add_eos_token") is not True:
        yield RULES["GS506"].found(
            f"the chat template writes {f'only {end!r:.40}' if end else 'nothing'} behind an answer, and the tokenizer "
            "adds no EOS"
        )
        return
    pad, eos = _content(tokenizer.get("pad_token")), _content(tokenizer.get("eos_token"))
    if pad is None or pad != eos or any(mark != eos for mark in marks):
        return
    seen = f"pad_token and eos_token are both {eos!r:.40}"
    by = _masked_by(run)
    if by is not None:
        yield RULES["GS506"].found(f"{seen}, {by}", level="warning" if by.startswith("and TRL") else "note")


def _by_its_tokenizer(run: Run) -> bool:
    return run.training.template is not None and run.training.template.kind == "template"


def _masked_by(run: Run) -> str | None:
    """Why padding may have hidden EOS from the loss; None where it cannot have."""
    if run.trainer is not None and run.trainer.name == "TRL" and (version := _version(run.trainer.version)):
        before = version < _TRL_OWN_COLLATOR
        return f"and TRL {run.trainer.version} took every pad token out of the loss" if before else None
    return "and many training scripts take every pad token out of the loss"


def _version(text: str) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _tokenizer(run: Run) -> Mapping[str, Any]:
    """tokenizer_config.json of the run, over special_tokens_map.json; {} where there is none, or it is damaged."""
    folder = run.tokenizer_dir
    if folder is None:
        return {}
    return {
        **_object(folder / "special_tokens_map.json", run.root),
        **_object(folder / "tokenizer_config.json", run.root),
    }


def _object(file: Path, top: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_head(file, top, _LIMIT) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _content(token: Any) -> str | None:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) and token else None
