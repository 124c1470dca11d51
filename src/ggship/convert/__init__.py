"""Turn a run's adapter into a GGUF file."""

from __future__ import annotations

from ggship.convert.conversion import Conversion, choose_converter, convert_adapter

__all__ = ["Conversion", "choose_converter", "convert_adapter"]
