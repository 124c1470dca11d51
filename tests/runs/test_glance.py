"""`inspect` sees broken and untrained numbers at a glance, without numpy."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.runs.findings.glance import nonfinite

FORMATS = {"F16": "<e", "F32": "<f", "F64": "<d"}


def half(value: float) -> float:
    """Where the number is too large for 16 bits, one that is not."""
    return value if not math.isfinite(value) or abs(value) <= 65504 else 1.0


@pytest.mark.parametrize("dtype", FORMATS)
@given(st.lists(st.floats(width=16) | st.floats(width=32), max_size=8))
def test_nan_and_inf_are_seen_and_nothing_else_is(dtype: str, values: list[float]) -> None:
    values = [half(value) for value in values]
    data = b"".join(struct.pack(FORMATS[dtype], value) for value in values)
    assert nonfinite(dtype, data) is any(not math.isfinite(value) for value in values)


@given(st.lists(st.floats(width=32), max_size=8))
def test_bfloat16_is_the_upper_half_of_float32(values: list[float]) -> None:
    uppers = [struct.pack("<f", value)[2:] for value in values]
    wide = [struct.unpack("<f", b"\0\0" + upper)[0] for upper in uppers]
    assert nonfinite("BF16", b"".join(uppers)) is any(not math.isfinite(value) for value in wide)


def test_types_without_such_numbers() -> None:
    assert nonfinite("I8", b"\x7f\xff\x7f\xff") is False
