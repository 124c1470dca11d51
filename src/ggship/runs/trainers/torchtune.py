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
# torchtune 0.6.1, datasets/: AlpacaToMessages writes a prompt of its own; these pass the texts on as they are; these
# train on raw text. Before 0.4 a data set had a template in its own section.
_ALPACA = ("alpaca_dataset", "alpaca_cleaned_dataset")
_AS_THEY_ARE = (
    "", "chat_dataset", "instruct_dataset", "grammar_dataset", "samsum_dataset", "slimorca_dataset",
    "hh_rlhf_helpful_dataset", "preference_dataset", "stack_exchange_paired_dataset",
)  # fmt: skip
_PLAIN = ("text_completion_dataset", "wikitext_dataset", "cnn_dailymail_articles_dataset")
_OLDER = ("template", "chat_format", "prompt_template")
_TEMPLATED = ("llama2_tokenizer", "mistral_tokenizer")
"""Whose prompt_template is not None where none is given: `null` in the file is then a choice."""


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
    """Named by the three layers that make its prompts, each of which may add text: tokenizer, template, kind of data.

    (datasets/_sft.py, data/_prompt_templates.py, models/*/_tokenizer.py)
    """
    config, source = evidence.yaml(_FILE), evidence.source(_FILE)
    found: dict[tuple[str, str | None], RecordedPrompt] = {}
    for section in _datasets(config):
        data, given = _own(section.get(_COMPONENT)), section.get("new_system_prompt")
        system = given if isinstance(given, str) else None
        if data in _PLAIN:
            prompt = RecordedPrompt("plain", system=system, source=source)
        elif tokenizer := _own(_section(config, "tokenizer").get(_COMPONENT)):
            layers = (tokenizer, _layer(config, tokenizer), _data_layer(section, data))
            prompt = RecordedPrompt("template", "+".join(filter(None, layers)), system=system, source=source)
        else:
            continue
        found.setdefault((prompt.name, system), prompt)
    yield from found.values()


def _datasets(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """One, or the several of a list (datasets/_concat.py); one without settings where there is none."""
    listed = config.get("dataset")
    sections = listed if isinstance(listed, list) else [listed]
    return [section for section in sections if isinstance(section, dict)] or [{}]


def _layer(config: Mapping[str, Any], tokenizer: str) -> str:
    """What stands for tokenizer.prompt_template; "" where the tokenizer is left to its own."""
    section = _section(config, "tokenizer")
    given = section.get("prompt_template")
    if given is None:
        return "null" if "prompt_template" in section and tokenizer in _TEMPLATED else ""
    return _own(given)


def _data_layer(section: Mapping[str, Any], data: str) -> str:
    """What the kind of data adds to the question; its name where that is not known."""
    older = next((_own(section[key]) for key in _OLDER if section.get(key) is not None), "")
    return older or ("alpaca" if data in _ALPACA else "" if data in _AS_THEY_ARE else data)


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
    return [name for section in _datasets(config) for name in _dataset_names(section)]


def _dataset_names(section: Mapping[str, Any]) -> list[str]:
    source = section.get("data_files") if section.get("source") in ("json", "csv", "text") else section.get("source")
    return [source] if isinstance(source, str) else [name] if (name := _last(section.get(_COMPONENT))) else []


def _last(dotted: object) -> str:
    return short(dotted.rpartition(".")[2]) if isinstance(dotted, str) else ""


def _own(dotted: object) -> str:
    """The last part of a name of torchtune's own; the whole of another's, which may be called the same."""
    if isinstance(dotted, str) and not dotted.startswith("torchtune."):
        return short(dotted) or "one without a name"
    return _last(dotted) or ("strings of its own" if dotted else "")


TORCHTUNE = Reader("torchtune", _marks, settings=_settings, prompts=_prompts)
