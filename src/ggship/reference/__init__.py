"""A package held against base and adapter in Transformers and PEFT: what `ggship verify --reference` proves."""

from ggship.reference.measure import Extent
from ggship.reference.proof import Proof, prove

__all__ = ["Extent", "Proof", "prove"]
