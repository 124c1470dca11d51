"""Q8_0 by numpy: the bytes of ggml's own quantizer, in half its time.

ggml's reference goes weight by weight; these are a dozen passes over arrays that stay in a core's cache. A block is a
half-precision scale and 32 signed bytes (ggml-quants.c, quantize_row_q8_0_ref).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from ggship.gguf.scratch import Scratch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]

_WEIGHTS = 32
_BYTES = 34
_LARGEST = np.float32(127)
_SIGN = np.int32(-(2**31))
# The float32 just below a half: added and cut off, it rounds as C's roundf does, halves away from zero; a half itself
# would take the number just below 0.5 up to 1.
_NEARLY_HALF = np.nextafter(np.float32(0.5), np.float32(0.0)).view(np.int32)

_local = threading.local()


def quantize(rows: Floats, out: Bytes) -> bool:
    """float32 weights [n, a multiple of 32], C-ordered -> Q8_0 blocks, into `out` [n, row bytes].

    False, with `out` unfinished, for weights so small (under 1e-36) that C leaves open what ggml makes of them.
    """
    scratch = _scratch()
    flat = rows.reshape(-1)
    if not flat.size:
        return True
    blocks = flat.size // _WEIGHTS
    scales = _maxima(flat, scratch) / _LARGEST
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inverse = np.float32(1) / scales
        inverse[scales == 0] = 0
        if np.isinf(inverse).any():
            return False
        units = scratch.array("units", (blocks, _WEIGHTS), np.float32)
        np.multiply(flat.reshape(blocks, _WEIGHTS), inverse[:, None], out=units)
        halves = scratch.array("magnitudes", (blocks, _WEIGHTS), np.int32)
        np.bitwise_and(units.view(np.int32), _SIGN, out=halves)
        np.bitwise_or(halves, _NEARLY_HALF, out=halves)
        np.add(units, halves.view(np.float32), out=units)
        whole = scratch.array("whole", (blocks, _WEIGHTS), np.int8)
        np.copyto(whole, units, casting="unsafe")  # cuts off what is behind the point
        packed = out.reshape(blocks, _BYTES)
        packed[:, 2:] = whole.view(np.uint8)
        packed[:, :2] = scales.astype("<f2").view(np.uint8).reshape(blocks, 2)
    return True


def _maxima(flat: Floats, scratch: Scratch) -> Floats:
    """The largest magnitude of each block.

    Five maxima of the whole array with itself, moved by 16, 8, 4, 2 and 1: numpy's own reduction of rows of 32 takes
    twice as long.
    """
    here = scratch.array("magnitudes", flat.shape, np.float32)
    there = scratch.array("units", flat.shape, np.float32)
    np.abs(flat, out=here)
    left = flat.size
    for step in (16, 8, 4, 2, 1):
        left -= step
        np.maximum(here[:left], here[step : step + left], out=there[:left])
        here, there = there, here
    return here[:left:_WEIGHTS]


def _scratch() -> Scratch:
    found: Any = getattr(_local, "scratch", None)
    if found is None:
        found = _local.scratch = Scratch()
    scratch: Scratch = found
    return scratch
