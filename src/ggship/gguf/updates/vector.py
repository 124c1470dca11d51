"""A vector (norm, bias) that training replaced, scaled or added to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ggship.gguf.exact import finish

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.gguf.scratch import Scratch

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]


class VectorUpdate:
    """w' = (new or w) * factor + added, in this order; each a float64 [n] in GGUF's order, or None where it is not.

    new: a trained bias or norm (bias="all" saves them whole; modules_to_save). factor: IA3 scales biases too
    (PEFT: tuners/ia3/layer.py, Linear.merge). added: the scale times lora_B's bias (tuners/lora/layer.py).
    """

    def __init__(
        self, *, new: Doubles | None = None, factor: Doubles | None = None, added: Doubles | None = None
    ) -> None:
        self._new, self._factor, self._added = new, factor, added

    def squared_norm(self) -> None:
        """Only the merge can tell it."""

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """The one row there is: `start` is 0, `weights` is [1, n]."""
        del start
        total = scratch.array("total", weights.shape, np.float64)
        np.copyto(total, weights if self._new is None else self._new)
        if self._factor is not None:
            np.multiply(total, self._factor, out=total)
        if self._added is not None:
            np.add(total, self._added, out=total)
        return finish(weights, total, scratch)
