"""Folding a pair's scale into its B."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


def times(b: Floats, factor: float) -> Floats:
    """B times a number, computed in float64 and rounded once, to float32."""
    import numpy as np

    with np.errstate(over="ignore"):  # whoever may write Inf looks for it
        result: Floats = (b.astype(np.float64) * factor).astype(np.float32)
    return result


def fold_factor(scale: float, rank: int, alpha: float) -> float:
    """What B must be multiplied by, so that llama.cpp's scale gives PEFT's.

    llama.cpp knows one alpha for the whole file and takes each pair's rank from its shape: scale = alpha / rank
    (src/llama-adapter.h, get_scale). 1.0 exactly where the two agree.
    """
    factor = scale * rank / alpha
    return 1.0 if abs(factor - 1.0) < 1e-9 else factor
