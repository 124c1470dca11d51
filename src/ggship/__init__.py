"""ggship: one command that turns a trained LoRA into a model people use."""

__version__ = "0.1.0"
