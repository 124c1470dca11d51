"""torchtune: torchtune_config.yaml is the whole configuration (training/metric_logging.py, save_config)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.reader import Mark, Reader, short
from ggship.runs.trainers.recorded import pick
from ggship.runs.training import RecordedPrompt, Setting

_FILE = "torchtune_config.yaml"
_NAMES = {
    "epochs": "epochs",
    "batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "max_steps_per_epoch": "steps_per_epoch",
    "seed": "seed",
    "dtype": "precision",
}
_IN = {
    "optimizer": {"lr": "learning_rate", "weight_decay": "weight_decay"},
    "lr_scheduler": {"num_warmup_steps": "warmup_steps"},
    "tokenizer": {"max_seq_len": "sequence_length"},
    "dataset": {"packed": "packing", "train_on_input": "prompt_trained_on", "new_system_prompt": "system"},
}
_COMPONENT = "_component_"


def _marks(evidence: Evidence) -> Iterator[Mark]:
    if evidence.find(_FILE):
        yield Mark(_FILE)
    if any((directory / "recipe_state").is_dir() for directory in evidence.directories):
        yield Mark("recipe_state/")


def _settings(evidence: Evidence) -> Iterator[Iterator[Setting]]:
    config, source = evidence.yaml(_FILE), evidence.source(_FILE)
    yield pick(config, _NAMES, source)
    for section, names in _IN.items():
        yield pick(_section(config, section), names, source)
    words = {
        "optimizer": _component(config, "optimizer").lower(),
        "scheduler": _component(config, "lr_scheduler").removeprefix("get_"),
        "template": _template(config),
        "datasets": _dataset(config),
    }
    yield pick(words, {name: name for name in words}, source)


def _prompts(evidence: Evidence) -> Iterator[RecordedPrompt]:
    config, source = evidence.yaml(_FILE), evidence.source(_FILE)
    data = _component(config, "dataset")
    given = _section(config, "dataset").get("new_system_prompt")
    system = given if isinstance(given, str) else None
    template = _template(config)
    if template:
        yield RecordedPrompt("template", template, system=system, source=source)
    elif data == "text_completion_dataset":
        yield RecordedPrompt("plain", system=system, source=source)
    elif data.startswith("alpaca"):  # alpaca_dataset, alpaca_cleaned_dataset: AlpacaToMessages writes the prompt
        yield RecordedPrompt("dataset", "alpaca", system=system, source=source)
    elif tokenizer := _component(config, "tokenizer"):
        # Each of torchtune's tokenizers has its model's prompt built in (models/*/_tokenizer.py).
        yield RecordedPrompt("tokenizer", tokenizer, system=system, source=source, confidence="medium")


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _component(config: Mapping[str, Any], section: str) -> str:
    """The last part of a component's dotted name: torchtune.datasets.alpaca_dataset."""
    return _last(_section(config, section).get(_COMPONENT))


def _template(config: Mapping[str, Any]) -> str:
    """The class of tokenizer.prompt_template; one that is given by its strings has no name."""
    return _last(_section(config, "tokenizer").get("prompt_template"))


def _dataset(config: Mapping[str, Any]) -> list[str]:
    section = _section(config, "dataset")
    source = section.get("data_files") if section.get("source") in ("json", "csv", "text") else section.get("source")
    return [source] if isinstance(source, str) else [name] if (name := _component(config, "dataset")) else []


def _last(dotted: object) -> str:
    return short(dotted.rpartition(".")[2]) if isinstance(dotted, str) else ""


TORCHTUNE = Reader("torchtune", _marks, settings=_settings, prompts=_prompts)
