"""ms-swift: args.json, in the run and in each checkpoint, holds all arguments (swift: base_args.py, save_args)."""

from __future__ import annotations

from collections.abc import Iterator

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.hugging_face import card_settings, state_settings
from ggship.runs.trainers.reader import Mark, Reader, short
from ggship.runs.trainers.recorded import pick
from ggship.runs.training import RecordedPrompt, Setting

_FILE = "args.json"
_NAMES = {
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "max_length": "sequence_length",
    "packing": "packing",
    "seed": "seed",
    "lr_scheduler_type": "scheduler",
    "warmup_ratio": "warmup_ratio",
    "warmup_steps": "warmup_steps",
    "weight_decay": "weight_decay",
    "optim": "optimizer",
    "torch_dtype": "precision",
    "quant_bits": "quantization_bits",
    "neftune_noise_alpha": "neftune_noise",
    "dataset": "datasets",
    "val_dataset": "eval_datasets",
    "split_dataset_ratio": "eval_share",
    "template": "template",
    "system": "system",
    "enable_thinking": "thinking",
    "loss_scale": "loss_scale",
    "use_chat_template": "chat_template_used",
}


def _marks(evidence: Evidence) -> Iterator[Mark]:
    arguments = evidence.json(_FILE)
    fields = [field for field in ("swift_version", "tuner_type", "train_type", "sft_type") if field in arguments]
    if fields:
        yield Mark(f"{_FILE} has {fields[0]}")


def _settings(evidence: Evidence) -> Iterator[Iterator[Setting]]:
    arguments = dict(evidence.json(_FILE))
    yield pick(arguments, _NAMES, evidence.source(_FILE))
    if type(steps := arguments.get("max_steps")) is int and steps > 0:  # -1: as many as the epochs take
        yield pick(arguments, {"max_steps": "max_steps"}, evidence.source(_FILE))
    yield state_settings(evidence)
    yield card_settings(evidence)


def _prompts(evidence: Evidence) -> Iterator[RecordedPrompt]:
    arguments = evidence.json(_FILE)
    name, system, thinking = (arguments.get(field) for field in ("template", "system", "enable_thinking"))
    templated = arguments.get("use_chat_template") is not False
    if short(name) or not templated:
        yield RecordedPrompt(
            "template" if templated else "plain",
            str(name) if templated else "",
            system=system if isinstance(system, str) else None,
            thinking=thinking if isinstance(thinking, bool) else None,
            source=evidence.source(_FILE),
        )


SWIFT = Reader(
    "ms-swift",
    _marks,
    version=lambda evidence: short(evidence.json(_FILE).get("swift_version")),
    settings=_settings,
    prompts=_prompts,
    uses=frozenset(("TRL", "Unsloth")),
)
