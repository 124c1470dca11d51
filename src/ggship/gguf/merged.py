"""What a merge did, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """One tensor that training changed, W -> Q(W + D); W is the base's weight, dequantized.

    survival: <Q(W + D) - W, D> / <D, D>, 1 where all of the update is left (and where D is zero).
    relative_update: |D| / |W|, Frobenius norms. Types are ggml's names.
    """

    name: str
    from_type: str
    to_type: str
    survival: float
    relative_update: float


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did. pairs: tensors that training changed; merged: those changed in the file, always as many.

    bytes: size of the file. survival: of all tensors together, the sum of the projections over the sum of |D|**2.
    quant: the quantization asked for, "" where none was.
    """

    pairs: int
    merged: int
    survival: float
    tensors: tuple[MergedTensor, ...]
    bytes: int
    quant: str
