"""A glance at the trained numbers, by their bytes alone: numpy takes longer to import than `inspect` may take."""

from __future__ import annotations

import re

from ggship.runs.files import MIB
from ggship.runs.model import Run

MOST = 64 * MIB
"""Adapters up to this size are looked at: some 20 ms. --deep reads any."""
# Bytes of a number, and what its last two (little endian: sign and exponent come first in them) are in NaN and Inf.
_NONFINITE = {
    "F16": (2, re.compile(rb"[\x7c-\x7f\xfc-\xff]"), None),
    "BF16": (2, re.compile(rb"[\x7f\xff]"), 0x80),
    "F32": (4, re.compile(rb"[\x7f\xff]"), 0x80),
    "F64": (8, re.compile(rb"[\x7f\xff]"), 0xF0),
}


def looks_odd(run: Run) -> bool:
    """Whether something is there that `what_the_numbers_say` should look at: NaN, Inf, or a half that is zero.

    False where the adapter is too large for a glance, or cannot be read. Law: a NaN or an Inf is never missed, nor a
    tensor of zeros (but for negative ones).
    """
    if sum(header.nbytes for header in run.tensors.values()) > MOST:
        return False
    halves = {header.name for module in run.modules for header in (module.a, module.b)}
    try:
        for path in run.tensor_files:
            with path.open("rb") as file:
                for header in run.tensors.values():
                    if header.file == path:
                        file.seek(header.offset)
                        data = file.read(header.nbytes)
                        if nonfinite(header.dtype, data) or (header.name in halves and not data.strip(b"\0")):
                            return True
    except OSError:
        return False
    return False


def nonfinite(dtype: str, data: bytes) -> bool:
    """Whether there is a NaN or an Inf among numbers of that type; False for types that have none."""
    width, pattern, least = _NONFINITE.get(dtype, (0, None, None))
    if pattern is None:
        return False
    last = data[width - 1 :: width]
    if least is None:
        return pattern.search(last) is not None
    before = data[width - 2 :: width]
    return any(before[found.start()] >= least for found in pattern.finditer(last))
