"""A LoRA pair, and folding its scale into B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One low-rank update of one base tensor: delta W = scale * B @ A.

    a: float array [rank, in_features], b: float array [out_features, rank]; scale already holds alpha, rank and rsLoRA
    (PEFT: alpha / rank, or alpha / sqrt(rank) with use_rslora; tuners/lora/layer.py).
    Law: folded(pair).delta() == pair.delta(), and folded(pair).scale == 1.
    """

    name: str
    a: Floats
    b: Floats
    scale: float

    def delta(self) -> Floats:
        """The update, float64 [out_features, in_features]."""
        import numpy as np

        result: Floats = self.scale * (self.b.astype(np.float64) @ self.a.astype(np.float64))
        return result


def folded(pair: Pair) -> Pair:
    """The same update with its scale inside B, which becomes float32: each number is rounded once."""
    return Pair(pair.name, pair.a, times(pair.b, pair.scale), 1.0)


def times(b: Floats, factor: float) -> Floats:
    """B times a number, computed in float64 and rounded once, to float32."""
    import numpy as np

    result: Floats = (b.astype(np.float64) * factor).astype(np.float32)
    return result


def fold_factor(scale: float, rank: int, alpha: float) -> float:
    """What B must be multiplied by, so that llama.cpp's scale gives PEFT's.

    llama.cpp knows one alpha for the whole file and takes each pair's rank from its shape: scale = alpha / rank
    (src/llama-adapter.h, get_scale). 1.0 exactly where the two agree.
    """
    factor = scale * rank / alpha
    return 1.0 if abs(factor - 1.0) < 1e-9 else factor
