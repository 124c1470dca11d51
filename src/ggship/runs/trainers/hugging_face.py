"""What the Trainer of transformers leaves, whichever program it works for: its model card and its state."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.recorded import pick
from ggship.runs.training import Setting

# transformers: modelcard.py, TrainingSummary.from_trainer and extract_hyperparameters_from_trainer.
_CARD = {
    "learning_rate": "learning_rate",
    "train_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "num_devices": "devices",
    "seed": "seed",
    "lr_scheduler_type": "scheduler",
    "lr_scheduler_warmup_ratio": "warmup_ratio",
    "lr_scheduler_warmup_steps": "warmup_steps",
    "num_epochs": "epochs",
    "training_steps": "max_steps",
    "mixed_precision_training": "precision",
}
_FRAMEWORK = re.compile(
    r"^[ \t]{0,8}- (PEFT|TRL|Transformers|Pytorch|Datasets|Tokenizers|Unsloth):? (\S{1,40})[ \t]{0,8}$", re.MULTILINE
)


def card_settings(evidence: Evidence) -> Iterator[Setting]:
    """The hyperparameters that the Trainer lists in its model card, and the versions of what it ran on."""
    source = evidence.source("README.md")
    _, _, section = evidence.readme.partition("hyperparameters were used during training:")
    rows = re.findall(r"^- (\w+): (.{1,200})$", section.split("\n#", 1)[0], re.MULTILINE)
    yield from pick(dict(rows), _CARD, source)
    optimizer = re.search(r"^- optimizer: (?:Use )?(?:OptimizerNames\.)?(\w+)", section, re.MULTILINE)
    if optimizer:
        yield from pick({"optimizer": optimizer[1].lower()}, {"optimizer": "optimizer"}, source)
    versions = tuple(f"{name} {version}" for name, version in _FRAMEWORK.findall(evidence.readme))
    yield from pick({"versions": versions}, {"versions": "frameworks"}, source)


def card_dataset(evidence: Evidence) -> Iterator[Setting]:
    """The names of the datasets, where the card has any (modelcard.py, to_model_card)."""
    _, _, rest = evidence.readme.partition("This model is a fine-tuned version of ")
    _, found, rest = rest.split("\n", 1)[0][:2000].partition(" on the ")
    if found:
        listed = rest.rpartition(" dataset")[0]
        names = [name for name in re.split(r", | and ", listed) if name not in ("None", "unknown", "")]
        yield from pick({"dataset": names}, {"dataset": "datasets"}, evidence.source("README.md"))


def state_settings(evidence: Evidence) -> Iterator[Setting]:
    """What trainer_state.json says of the plan of training (trainer_callback.py, TrainerState)."""
    history = evidence.history
    names = {"num_train_epochs": "epochs", "max_steps": "max_steps", "train_batch_size": "batch_size"}
    yield from pick(history.state, names, history.source)
