"""A glance at the trained numbers, by their bytes alone: numpy takes longer to import than `inspect` may take."""

from __future__ import annotations

from ggship.runs.files import MIB
from ggship.runs.model import Run

MOST = 32 * MIB
"""Bytes of the largest adapter that is looked at: 50 ms on a slow core. --deep reads any."""
# Bytes of a number; what its last one (little endian: sign and exponent) is in a NaN or an Inf; the least that the one
# before it is then, 0 where the last alone tells.
_NONFINITE = {
    "F16": (2, b"\x7c\x7d\x7e\x7f\xfc\xfd\xfe\xff", 0),
    "BF16": (2, b"\x7f\xff", 0x80),
    "F32": (4, b"\x7f\xff", 0x80),
    "F64": (8, b"\x7f\xff", 0xF0),
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
    width, lasts, least = _NONFINITE.get(dtype, (1, b"", 0))
    last = data[width - 1 :: width]
    seen = [byte for byte in lasts if byte in last]  # a search for one byte is many times faster than any other
    if not seen or not least:
        return bool(seen)
    before = data[width - 2 :: width]
    return any(last[at] in seen and before[at] >= least for at in range(len(last)))
