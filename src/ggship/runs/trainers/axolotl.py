"""Axolotl: its YAML stands in the model card (train.py, setup_model_card), and debug.log prints it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ggship.runs.trainers.evidence import Evidence, json_object, yaml_mapping
from ggship.runs.trainers.hugging_face import card_settings, state_settings
from ggship.runs.trainers.reader import Mark, Reader, short
from ggship.runs.trainers.recorded import pick, precision
from ggship.runs.training import Confidence, RecordedPrompt, Setting

_NAMES = {
    "learning_rate": "learning_rate",
    "num_epochs": "epochs",
    "max_steps": "max_steps",
    "micro_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "sequence_len": "sequence_length",
    "sample_packing": "packing",
    "seed": "seed",
    "lr_scheduler": "scheduler",
    "warmup_ratio": "warmup_ratio",
    "warmup_steps": "warmup_steps",
    "weight_decay": "weight_decay",
    "optimizer": "optimizer",
    "precision": "precision",
    "neftune_noise_alpha": "neftune_noise",
    "val_set_size": "eval_share",
    "chat_template": "template",
    "default_system_message": "system",
    "train_on_inputs": "prompt_trained_on",
}
_PLAIN = ("completion", "pretrain", "input_output")
"""Kinds of data that are trained on as they are (axolotl/prompt_strategies: completion.py, input_output.py)."""


_DEFAULT = "tokenizer_default"
_SURE: Mapping[bool, Confidence] = {True: "high", False: "medium"}


def _marks(evidence: Evidence) -> Iterator[Mark]:
    if "See axolotl config" in evidence.readme:
        yield Mark("README.md holds its configuration")
    elif "Built with Axolotl" in evidence.readme:
        yield Mark("README.md says it was built with Axolotl")
    if "axolotl_config_path" in evidence.head("debug.log"):
        yield Mark("debug.log names axolotl_config_path")


def _version(evidence: Evidence) -> str:
    match = re.search(r"axolotl version: `([^`\n]{1,40})`", evidence.readme)
    return match[1] if match else ""


def _config(evidence: Evidence) -> tuple[Mapping[str, Any], str]:
    """(configuration, the file that holds it)."""
    _, _, rest = evidence.readme.partition("See axolotl config")
    fenced = rest.partition("```yaml\n")[2].partition("\n```")[0]
    if config := yaml_mapping(fenced):
        return config, evidence.source("README.md")
    log = evidence.head("debug.log")
    start = log.rfind("\n{", 0, max(log.find('"axolotl_config_path"'), 0))
    end = log.find("\n}", start)
    return (json_object(log[start : end + 2]) if 0 <= start < end else {}), evidence.source("debug.log")


def _settings(evidence: Evidence) -> Iterator[Iterator[Setting]]:
    config, source = _config(evidence)
    yield pick({**config, **precision(config)}, _NAMES, source)
    loaded = {"bits": 4 if config.get("load_in_4bit") is True else 8 if config.get("load_in_8bit") is True else None}
    yield pick(loaded, {"bits": "quantization_bits"}, source)
    for group, name in (("datasets", "datasets"), ("test_datasets", "eval_datasets")):
        yield pick({name: [dataset.get("path") for dataset in _datasets(config, group)]}, {name: name}, source)
    yield card_settings(evidence)
    yield state_settings(evidence)


def _prompts(evidence: Evidence) -> Iterator[RecordedPrompt]:
    config, source = _config(evidence)
    given = config.get("default_system_message")
    system = given if isinstance(given, str) else None
    for dataset in _datasets(config, "datasets"):
        prompt = _prompt(config, dataset, system, source, evidence.template or "")
        if prompt:
            yield prompt


def _prompt(
    config: Mapping[str, Any], dataset: Mapping[str, Any], system: str | None, source: str, saved: str
) -> RecordedPrompt | None:
    """How one dataset was made into prompts. Only `chat_template` uses a chat template: other kinds bring their own.

    (axolotl/utils/schemas/datasets.py, SFTDataset; prompt_strategies/chat_template.py)
    """
    kind = dataset.get("type")
    if isinstance(kind, dict):
        parts = {str(key): value for key, value in kind.items() if isinstance(value, str)}
        own = parts.get("system_prompt")
        return RecordedPrompt(
            "format",
            text=parts.get("format", ""),
            system=own or system,
            source=source,
            parts=tuple(sorted(parts.items())),
        )
    if not isinstance(kind, str):
        return None
    if kind in _PLAIN:
        return RecordedPrompt("plain", kind, source=source)
    if not kind.startswith("chat_template"):
        return RecordedPrompt("dataset", short(kind), system=system, source=source)
    chosen, general = dataset.get("chat_template"), config.get("chat_template")
    # The general one is put into the tokenizer, which is saved with it (loaders/tokenizer.py): the tokenizer's default
    # is then that one, and debug.log fills in "tokenizer_default" where a dataset names none.
    if not chosen or str(chosen).startswith(_DEFAULT):
        chosen = general or chosen or _DEFAULT
    if chosen == "jinja":
        own = dataset.get("chat_template_jinja")
        jinja = own or config.get("chat_template_jinja")
        if not isinstance(jinja, str) or "{" not in jinja:  # the path of a file, which is no part of the run
            jinja = "" if own else saved
        return RecordedPrompt("jinja", text=jinja, system=system, source=source) if jinja else None
    if not short(chosen):
        return None
    if chosen.startswith(_DEFAULT):
        # tokenizer_default_fallback_chatml: ChatML only where the tokenizer had none
        fallback = chosen.removeprefix(_DEFAULT).removeprefix("_fallback_")
        return RecordedPrompt("tokenizer", fallback, saved, system, source=source, confidence=_SURE[not fallback])
    return RecordedPrompt("template", chosen, saved if chosen == general else "", system, source=source)


def _datasets(config: Mapping[str, Any], group: str) -> list[Mapping[str, Any]]:
    value = config.get(group)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


AXOLOTL = Reader(
    "Axolotl", _marks, version=_version, settings=_settings, prompts=_prompts, uses=frozenset(("TRL", "Unsloth"))
)
