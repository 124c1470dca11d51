"""VeRA's shared projections where they were not saved: drawn again from the seed in the config, number by number.

PEFT draws them on a CPU with torch's generator (tuners/vera/model.py, _init_vera_A_vera_B and _kaiming_init): A first,
then B, both uniform in +- sqrt(6 / columns). torch's generator is MT19937, a float32 takes the lower 24 bits of one
draw, and x (to - from) + from is rounded once (ATen: core/TransformationHelper.h, uniform_real, with a fused
multiply-add). Held against torch bit by bit in tests/convert/test_methods.py.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]


@lru_cache(maxsize=1)
def projections(seed: int, rank: int, largest_out: int, largest_in: int) -> tuple[Doubles, Doubles]:
    """(A float64 [rank, largest_in], B float64 [largest_out, rank]), every number a float32."""
    generator = np.random.RandomState(seed & 0xFFFFFFFF)
    return _uniform(generator, (rank, largest_in)), _uniform(generator, (largest_out, rank))


def _uniform(generator: np.random.RandomState, shape: tuple[int, int]) -> Doubles:
    bound = np.float32(math.sqrt(3.0) * (math.sqrt(2.0) / math.sqrt(shape[1])))
    draws = generator.randint(0, 1 << 32, size=shape, dtype=np.uint32)
    steps = (draws & np.uint32((1 << 24) - 1)).astype(np.float64) * 2.0**-24
    width = np.float64(bound - -bound)
    numbers: Doubles = (steps * width - np.float64(bound)).astype(np.float32).astype(np.float64)
    return numbers
