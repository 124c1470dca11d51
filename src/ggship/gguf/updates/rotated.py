"""OFT: the inputs of a weight are rotated, block by block.

W' = W R^T with R block-diagonal, each block from a skew-symmetric Q (PEFT: tuners/oft/layer.py, OFTRotationModule: by
Cayley's transform, R = (I - Q)(I + Q)^-1, or by the first terms of its Neumann series, R = I + 2Q + 2Q^2 ... + Q^n;
OFTLayer Linear.merge multiplies). With `coft` each block of Q is first kept within eps / sqrt(blocks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ggship.gguf.exact import Pieces, exact_product, finish, product, row_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.gguf.scratch import Scratch

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]


class Rotated:
    """W' = W R^T. blocks: float64 [n, k, k], k the size of a block; n blocks make the columns, or one block for all."""

    def __init__(self, blocks: Doubles) -> None:
        self._size = blocks.shape[1]
        self._blocks = [Pieces(np.ascontiguousarray(block.T), axis=0) for block in blocks]

    def squared_norm(self) -> None:
        """Only the merge can tell it."""

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Rotate the rows from `start` on, each by itself."""
        del start
        total = scratch.array("total", weights.shape, np.float64)
        for number in range(weights.shape[1] // self._size):
            columns = slice(number * self._size, (number + 1) * self._size)
            part = scratch.array("part", (len(weights), self._size), np.float64)
            block = self._blocks[number if len(self._blocks) > 1 else 0]
            product(Pieces(weights[:, columns].astype(np.float64), axis=1), block, part, scratch)
            total[:, columns] = part
        return finish(weights, total, scratch)


def rotations(vectors: Doubles, size: int, *, neumann_terms: int | None, eps: float | None) -> Doubles:
    """The blocks [n, k, k] of `vectors` [n, k (k - 1) / 2], the upper triangles of Q row by row.

    neumann_terms: of the series (PEFT's num_cayley_neumann_terms), None for Cayley's transform itself. eps: of coft.
    """
    q = np.zeros((len(vectors), size, size))
    upper = np.triu_indices(size, 1)
    q[:, upper[0], upper[1]] = vectors
    q -= q.transpose(0, 2, 1)
    if eps is not None:
        q = _constrained(q, eps)
    if neumann_terms is None:
        return _cayley(q)
    return np.stack([_neumann(block, neumann_terms) for block in q])


def _cayley(q: Doubles) -> Doubles:
    """(I - Q)(I + Q)^-1 of each block, by elimination number by number: LAPACK has another order on every machine.

    The symmetric part of I - Q is I, so that no pivot is below 1 and none needs to be looked for.
    """
    size = q.shape[1]
    identity = np.eye(size)
    table = np.concatenate([identity - q, identity + q], axis=2)  # (I - Q) R^T = I + Q, since Q^T = -Q
    for pivot in range(size):
        table[:, pivot] /= table[:, pivot, pivot, None]
        others = table[:, :, pivot].copy()
        others[:, pivot] = 0.0
        table -= others[:, :, None] * table[:, pivot, None, :]
    return np.ascontiguousarray(table[:, :, size:].transpose(0, 2, 1))


def _neumann(q: Doubles, terms: int) -> Doubles:
    result = np.eye(len(q))
    if terms > 1:
        result += 2.0 * q
    if terms > 2:
        power = exact_product(q, q)
        result += 2.0 * power
        for _ in range(3, terms - 1):
            power = exact_product(power, q)
            result += 2.0 * power
        result += exact_product(power, q)
    return result


def _constrained(q: Doubles, eps: float) -> Doubles:
    limit = eps / np.sqrt(len(q))
    lengths = np.sqrt(row_sums(np.square(q).reshape(len(q), -1)))[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Doubles = np.where(lengths <= limit, q, limit * (q / lengths))
    return result
