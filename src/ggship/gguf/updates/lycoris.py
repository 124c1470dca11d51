"""LoHa and LoKr: products of low-rank matrices, number by number or block by block.

PEFT: tuners/loha/layer.py, LoHaLayer.get_delta_weight (LyCORIS' make_weight); tuners/lokr/layer.py,
LoKrLayer.get_delta_weight and make_kron. Linear layers only: the tucker forms (hada_t1, lokr_t2) are of convolutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ggship.gguf.exact import Pieces, finish, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.gguf.scratch import Scratch

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]
    Rows = NDArray[np.intp]


class Hadamard:
    """LoHa: D = scale * (w1a @ w1b) * (w2a @ w2b), number by number.

    w1, w2: (a, b) as float64 [rows, r] and [r, columns].
    """

    def __init__(self, w1: tuple[Doubles, Doubles], w2: tuple[Doubles, Doubles], scale: float) -> None:
        self._first = (Pieces(w1[0] * scale, axis=1), Pieces(w1[1], axis=0))
        self._second = (Pieces(w2[0], axis=1), Pieces(w2[1], axis=0))

    def squared_norm(self) -> None:
        """Only the merge can tell it."""

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Merge the rows from `start` on."""
        total = scratch.array("total", weights.shape, np.float64)
        other = scratch.array("other", weights.shape, np.float64)
        product(*self._first, total, scratch, start)
        product(*self._second, other, scratch, start)
        np.multiply(total, other, out=total)
        np.add(total, weights, out=total)
        return finish(weights, total, scratch)


class Kronecker:
    """LoKr: D = scale * kron(w1, w2): row i is the products of row i // m of w1 with row i % m of w2, m the rows of w2.

    w1: float64 [a, b], w2: [m, n]; the weight is [a m, b n]. order: for each row in GGUF that of Hugging Face.
    """

    def __init__(self, w1: Doubles, w2: Doubles, scale: float, order: Rows | None = None) -> None:
        self._w1, self._w2 = w1 * scale, w2
        self._order = order

    def squared_norm(self) -> float:
        """|w1|**2 |w2|**2, by the product's own law."""
        return float(np.square(self._w1).sum() * np.square(self._w2).sum())

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Merge the rows from `start` on."""
        rows = np.arange(start, start + len(weights))
        if self._order is not None:
            rows = self._order[rows]
        left, right = np.divmod(rows, len(self._w2))
        total = scratch.array("total", weights.shape, np.float64)
        blocks = total.reshape(len(weights), self._w1.shape[1], self._w2.shape[1])
        np.multiply(self._w1[left][:, :, None], self._w2[right][:, None, :], out=blocks)
        np.add(total, weights, out=total)
        return finish(weights, total, scratch)
