"""Serving beyond one machine: ready-to-run files for engines that already scale.

kit = make_kit(load_package("law-helper"), "vllm")
write_kit(kit, Path("serve"))
"""

from ggship.serving.kit import ENGINES, make_kit, suite_of, write_kit
from ggship.serving.model import Kit, Options

__all__ = ["ENGINES", "Kit", "Options", "make_kit", "suite_of", "write_kit"]
