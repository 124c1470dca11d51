"""mlx-lm: adapter_config.json holds the arguments of training, and no method of PEFT (mlx_lm/lora.py, train_model)."""

from __future__ import annotations

from collections.abc import Iterator

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.reader import Mark, Reader
from ggship.runs.trainers.recorded import pick
from ggship.runs.training import Setting

_FILE = "adapter_config.json"
_NAMES = {
    "learning_rate": "learning_rate",
    "iters": "max_steps",
    "batch_size": "batch_size",
    "grad_accumulation_steps": "gradient_accumulation",
    "max_seq_length": "sequence_length",
    "seed": "seed",
    "optimizer": "optimizer",
    "num_layers": "layers",
    "mask_prompt": "prompt_masked",
    "fine_tune_type": "method",
    "data": "datasets",
}


def _marks(evidence: Evidence) -> Iterator[Mark]:
    if "peft_type" not in evidence.config and "lora_parameters" in evidence.config:
        yield Mark(f"{_FILE} has lora_parameters and no peft_type")
    if evidence.find("adapters.safetensors"):
        yield Mark("adapters.safetensors", sure=False)


def _settings(evidence: Evidence) -> Iterator[Iterator[Setting]]:
    source = evidence.source(_FILE)
    schedule = evidence.config.get("lr_schedule")
    named = {"schedule": schedule.get("name")} if isinstance(schedule, dict) else {}
    yield pick(named, {"schedule": "scheduler"}, source)
    # A schedule has rates of its own; `learning_rate` is then a default that nothing used (lora.py, train_model).
    unused = {"learning_rate"} if schedule else set()
    yield pick(evidence.config, {key: name for key, name in _NAMES.items() if key not in unused}, source)


MLX = Reader("mlx-lm", _marks, settings=_settings)
