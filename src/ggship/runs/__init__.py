"""Read what training left: files, trainer, adapter config, tensor headers."""

from __future__ import annotations

from ggship.runs.history import training_curve
from ggship.runs.model import Checkpoint, LoraModule, Run, TensorHeader, Trainer
from ggship.runs.obstacles import Obstacle, obstacles
from ggship.runs.reading import read_run
from ggship.runs.training import RecordedPrompt, Setting, Training

__all__ = [
    "Checkpoint",
    "LoraModule",
    "Obstacle",
    "RecordedPrompt",
    "Run",
    "Setting",
    "TensorHeader",
    "Trainer",
    "Training",
    "obstacles",
    "read_run",
    "training_curve",
]
