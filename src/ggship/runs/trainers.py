"""Tell which program trained, from small files beside the adapter; never from pickles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ggship.runs.files import MIB, is_regular, read_head
from ggship.runs.model import History, Trainer

_HEAD = MIB // 4


@dataclass(frozen=True)
class Evidence:
    """What a detector may look at. directories: the adapter's own first, then the run's root."""

    directories: Sequence[Path]
    root: Path
    config: Mapping[str, Any]
    modules: frozenset[str]
    history: History
    tokenizer_saved: bool

    def find(self, name: str) -> Path | None:
        """The first plain file of that name."""
        return next((path / name for path in self.directories if is_regular(path / name)), None)

    def head(self, name: str) -> str:
        """The first quarter MiB of the first file of that name; "" where there is none."""
        file = self.find(name)
        return read_head(file, self.root, _HEAD) if file else ""

    def json(self, name: str) -> Mapping[str, Any]:
        """The object in a small JSON file; {} where there is none that can be read: it proves nothing then."""
        try:
            value = json.loads(self.head(name) or "{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @cached_property
    def readme(self) -> str:
        """The beginning of the model card."""
        return self.head("README.md")

    @cached_property
    def tags(self) -> frozenset[str]:
        """The tags in the model card's front matter."""
        parts = self.readme.split("---", 2)
        if len(parts) < 3 or parts[0].strip():
            return frozenset()
        block = re.search(r"^tags:\s*\n((?:\s*- .*\n?)+)", parts[1], re.MULTILINE)
        inline = re.search(r"^tags:\s*\[(.*)\]", parts[1], re.MULTILINE)
        names = block[1].split("\n") if block else inline[1].split(",") if inline else []
        return frozenset(name.strip().removeprefix("-").strip(" '\"") for name in names)


def recognise(evidence: Evidence) -> Trainer | None:
    """The trainer, by the first detector that is sure; None where nothing tells (facts: detection order, 5.1)."""
    return next((trainer for detect in _DETECTORS if (trainer := detect(evidence))), None)


def _swift(evidence: Evidence) -> Trainer | None:
    arguments = evidence.json("args.json")
    fields = [field for field in ("swift_version", "tuner_type", "train_type", "sft_type") if field in arguments]
    if not fields:
        return None
    return Trainer("ms-swift", f"args.json has {fields[0]}", _text(arguments.get("swift_version")))


def _mlx(evidence: Evidence) -> Trainer | None:
    if evidence.find("adapters.safetensors"):
        return Trainer("mlx-lm", "adapters.safetensors")
    if "peft_type" not in evidence.config and "lora_parameters" in evidence.config:
        return Trainer("mlx-lm", "adapter_config.json has lora_parameters and no peft_type")
    return None


def _torchtune(evidence: Evidence) -> Trainer | None:
    if evidence.find("torchtune_config.yaml"):
        return Trainer("torchtune", "torchtune_config.yaml")
    if any((directory / "recipe_state").is_dir() for directory in evidence.directories):
        return Trainer("torchtune", "recipe_state/")
    return None


def _axolotl(evidence: Evidence) -> Trainer | None:
    if "See axolotl config" in evidence.readme:
        version = re.search(r"axolotl version: `([^`\n]{1,40})`", evidence.readme)
        return Trainer("Axolotl", "README.md holds its configuration", version[1] if version else "")
    if "axolotl_config_path" in evidence.head("debug.log"):
        return Trainer("Axolotl", "debug.log names axolotl_config_path")
    return None


def _llama_factory(evidence: Evidence) -> Trainer | None:
    if evidence.find("llamaboard_config.yaml"):
        return Trainer("LLaMA-Factory", "llamaboard_config.yaml")
    if '"current_steps"' in evidence.head("trainer_log.jsonl").split("\n", 1)[0]:
        return Trainer("LLaMA-Factory", "trainer_log.jsonl")
    if re.search(r"^finetuning_type:", evidence.head("training_args.yaml"), re.MULTILINE):
        return Trainer("LLaMA-Factory", "training_args.yaml")
    if "llama-factory" in evidence.tags:
        return Trainer("LLaMA-Factory", "README.md has the tag llama-factory")
    return None


def _chatglm(evidence: Evidence) -> Trainer | None:
    # finetune_demo saves no tokenizer, and its evaluation logs word-level ROUGE and BLEU; the names alone would be
    # true of any LoRA on a ChatGLM.
    names = [name for name in evidence.modules if "transformer.encoder.layers." in name]
    if not any(name.endswith("query_key_value") for name in names) or evidence.tokenizer_saved:
        return None
    metrics = evidence.history.keys & {"eval_rouge-l", "eval_bleu-4"}
    recipe = [evidence.config.get(field) for field in ("r", "lora_alpha", "lora_dropout")] == [8, 32, 0.1]
    if not metrics and not recipe:
        return None
    second = f"the log has {min(metrics)}" if metrics else "r 8, alpha 32 and dropout 0.1 are those of its lora.yaml"
    return Trainer("ChatGLM3 finetune_demo", f"query_key_value of ChatGLM layers, no tokenizer, and {second}")


def _unsloth(evidence: Evidence) -> Trainer | None:
    mapping = evidence.config.get("auto_mapping")
    version = _text(evidence.json("config.json").get("unsloth_version"))
    if isinstance(mapping, dict) and mapping.get("unsloth_fixed"):
        return Trainer("Unsloth", "adapter_config.json has unsloth_fixed", version)
    if "unsloth" in evidence.tags:
        return Trainer("Unsloth", "README.md has the tag unsloth", version)
    base = evidence.config.get("base_model_name_or_path")
    if isinstance(base, str) and re.match(r"unsloth/.*-bnb-4bit$", base, re.IGNORECASE):
        return Trainer("Unsloth", f"the base is {base}", version)
    return Trainer("Unsloth", "config.json has unsloth_version", version) if version else None


def _trl(evidence: Evidence) -> Trainer | None:
    version = _framework(evidence.readme, "TRL")
    if version or "It has been trained using [TRL]" in evidence.readme:
        return Trainer("TRL", "README.md says so", version)
    return Trainer("TRL", "README.md has the tag trl") if "trl" in evidence.tags else None


def _peft(evidence: Evidence) -> Trainer | None:
    if "peft_type" not in evidence.config:
        return None
    version = _text(evidence.config.get("peft_version")) or _framework(evidence.readme, "PEFT")
    return Trainer("PEFT", "adapter_config.json; no other trainer left a mark", version)


_DETECTORS: tuple[Callable[[Evidence], Trainer | None], ...] = (
    _swift,
    _mlx,
    _torchtune,
    _axolotl,
    _llama_factory,
    _chatglm,
    _unsloth,
    _trl,
    _peft,
)


def _framework(readme: str, name: str) -> str:
    match = re.search(rf"^\s*- {name}:? (\S{{1,40}})$", readme, re.MULTILINE)
    return match[1] if match else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= 40 else ""
