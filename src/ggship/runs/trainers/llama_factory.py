"""LLaMA-Factory: a log and a model card from the command line; its whole arguments too where LLaMA-Board started it.

(llamafactory: train/callbacks.py, train/trainer_utils.py, webui/runner.py, webui/common.py)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.hugging_face import card_dataset, card_settings, state_settings
from ggship.runs.trainers.reader import Mark, Reader, short
from ggship.runs.trainers.recorded import pick, precision
from ggship.runs.training import RecordedPrompt, Setting

_ARGUMENTS = "training_args.yaml"
_FORM = "llamaboard_config.yaml"
_LOG = "trainer_log.jsonl"
_NAMES = {
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs",
    "max_steps": "max_steps",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "cutoff_len": "sequence_length",
    "packing": "packing",
    "seed": "seed",
    "lr_scheduler_type": "scheduler",
    "warmup_ratio": "warmup_ratio",
    "warmup_steps": "warmup_steps",
    "weight_decay": "weight_decay",
    "optim": "optimizer",
    "precision": "precision",
    "quantization_bit": "quantization_bits",
    "neftune_noise_alpha": "neftune_noise",
    "dataset": "datasets",
    "eval_dataset": "eval_datasets",
    "val_size": "eval_share",
    "template": "template",
    "default_system": "system",
    "enable_thinking": "thinking",
    "train_on_prompt": "prompt_trained_on",
    "mask_history": "history_masked",
}
_IN_FORM = {
    "top.template": "template",
    "train.learning_rate": "learning_rate",
    "train.num_train_epochs": "epochs",
    "train.batch_size": "batch_size",
    "train.gradient_accumulation_steps": "gradient_accumulation",
    "train.cutoff_len": "sequence_length",
    "train.packing": "packing",
    "train.lr_scheduler_type": "scheduler",
    "train.warmup_steps": "warmup_steps",
    "train.compute_type": "precision",
    "train.dataset": "datasets",
    "train.val_size": "eval_share",
    "train.enable_thinking": "thinking",
    "train.train_on_prompt": "prompt_trained_on",
    "train.mask_history": "history_masked",
}
# What data/template.py (_get_jinja_template) begins every chat template with that it writes, after an optional BOS
# token and default system text; such a template never asks for add_generation_prompt.
_WRITTEN = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% endif %}"
)
_BEFORE_IT = ("{{ '", "{% set system_message = '")


def _marks(evidence: Evidence) -> Iterator[Mark]:
    if "top.template" in evidence.yaml(_FORM):
        yield Mark(_FORM)
    if '"current_steps"' in evidence.head(_LOG).split("\n", 1)[0]:
        yield Mark(_LOG)
    if "finetuning_type" in evidence.yaml(_ARGUMENTS):
        yield Mark(_ARGUMENTS)
    if "llama-factory" in evidence.tags:
        yield Mark("README.md has the tag llama-factory", sure=False)


def _settings(evidence: Evidence) -> Iterator[Iterator[Setting]]:
    arguments = evidence.yaml(_ARGUMENTS)
    yield pick({**arguments, **precision(arguments)}, _NAMES, evidence.source(_ARGUMENTS))
    yield pick(evidence.yaml(_FORM), _IN_FORM, evidence.source(_FORM))
    yield card_settings(evidence)
    yield card_dataset(evidence)
    yield state_settings(evidence)


def _prompts(evidence: Evidence) -> Iterator[RecordedPrompt]:
    """The template by its name where LLaMA-Board wrote it down, else by its text where it was put into the tokenizer.

    A chat template that is not LLaMA-Factory's own tells nothing: with the command line, `template` is kept nowhere.
    """
    arguments, form = evidence.yaml(_ARGUMENTS), evidence.yaml(_FORM)
    saved = evidence.template if evidence.template is not None and is_written(evidence.template) else ""
    for values, key, file in ((arguments, "template", _ARGUMENTS), (form, "top.template", _FORM)):
        if short(values.get(key)):
            yield RecordedPrompt(
                "template",
                str(values[key]),
                saved,
                system=_text(arguments.get("default_system")),
                thinking=_flag(arguments.get("enable_thinking"), form.get("train.enable_thinking")),
                source=evidence.source(file),
            )
            return
    if saved:
        yield RecordedPrompt("jinja", text=saved, source=evidence.template_source)


def is_written(template: str) -> bool:
    """Whether LLaMA-Factory itself wrote this chat template: then it says exactly how the prompts were made."""
    before, found, _ = template.partition(_WRITTEN)
    begins = not before or before.startswith(_BEFORE_IT)
    return bool(found) and begins and "add_generation_prompt" not in template


def _flag(*values: Any) -> bool | None:
    return next((value for value in values if isinstance(value, bool)), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


LLAMA_FACTORY = Reader(
    "LLaMA-Factory", _marks, settings=_settings, prompts=_prompts, uses=frozenset(("TRL", "Unsloth"))
)
