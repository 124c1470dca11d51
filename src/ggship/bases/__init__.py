"""Find the base model, and say whether the adapter fits it."""

from __future__ import annotations

from ggship.bases.fit import Fit, check_fit
from ggship.bases.model import Base, BaseTensor
from ggship.bases.portable import is_repository, portable
from ggship.bases.refs import resolve_ref
from ggship.bases.search import find_base
from ggship.bases.served import OllamaLister
from ggship.bases.to_gguf import hf_to_gguf, with_weights

__all__ = [
    "Base",
    "BaseTensor",
    "Fit",
    "OllamaLister",
    "check_fit",
    "find_base",
    "hf_to_gguf",
    "is_repository",
    "portable",
    "resolve_ref",
    "with_weights",
]
