"""What an update of a weight is to the merge: rows in, rows out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ggship.gguf.scratch import Scratch

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]


class Update(Protocol):
    """The change of one matrix, in the order that GGUF has its rows in. A vector is a matrix of one row.

    Law: the same inputs give the same bits, whatever the chunks, the threads, the BLAS and the CPU.
    `merge` may run in several threads at once; what it gives lies in their `scratch`.
    """

    def merge(self, start: int, weights: Floats, scratch: Scratch) -> tuple[Doubles, Floats]:
        """Merge the rows from `start` on, as many as `weights` has: (D, merged), where merged is W + D rounded once.

        weights: float32 [n, columns], left as it is. Merged is Inf or NaN where the exact number has no float32.
        """
        ...

    def squared_norm(self) -> float | None:
        """The sum of squares of D where it is known without the weights; None where the merge must measure it."""
        ...


@runtime_checkable
class Surveyor(Protocol):
    """An update that needs to have seen all rows of its matrix before it can merge any."""

    def survey(self, start: int, weights: Floats, scratch: Scratch) -> Doubles:
        """What these rows add to the sums that the update needs: float64 [columns]. May run in several threads."""
        ...

    def settle(self, sums: Doubles) -> None:
        """Take the sums over all rows, added in the order of the chunks."""
        ...


@dataclass(frozen=True, slots=True)
class TensorUpdate:
    """What is to be done to one tensor of a GGUF file.

    shape: that it must have, in numpy's order. make: the update of one of its matrices (an expert), or None where that
    one stays as it is; called once a matrix, and the update let go after it. None for a tensor that is only copied.
    source: for a tensor that the base lacks, the one whose weights it starts from, "" for zeros in float32; None for
    one that the base has.
    """

    name: str
    shape: tuple[int, ...]
    make: Callable[[int], Update | None] | None
    source: str | None = None
