"""What training can do to a weight, each kind as an object that merges rows of it."""

from __future__ import annotations

from ggship.gguf.updates.model import TensorUpdate, Update
from ggship.gguf.updates.rows import RowSource

__all__ = ["RowSource", "TensorUpdate", "Update"]
