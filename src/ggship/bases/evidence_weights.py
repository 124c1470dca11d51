"""What numbers say: those that training began from the base's, beside the base's own.

DoRA's magnitudes begin as the norms of the weight's rows (PEFT: tuners/lora/dora.py, update_layer), a saved module as a
copy of the base's. Training moves them a little; numbers that are far from the base's have most likely begun from
another one. Close ones prove nothing, since an instruct model is close to the plain one too. Copies that training did
not touch (PEFT saves them with an embedding's adapter) decide: they are the base's, or this is another base.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from ggship.bases.fit import Fit
from ggship.bases.model import Base
from ggship.convert.tensors import TensorReader, to_float32
from ggship.errors import GgshipError
from ggship.gguf.parts import Source, read_model
from ggship.gguf.quantize import best_kernels
from ggship.runs.model import Run, TrainedModule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ggship.bases.fingerprint import Evidence

_MODULES = 4
_ROWS = 64
_NEAR = 0.1  # relative difference; training and a 4-bit base together stay below it
_FAR = 0.5  # two initialisations are about 1.4 apart, norms of unrelated models often half
_ROUNDED = 0.005  # BF16 keeps 8 bits
_COARSE = 0.15  # what 4 bits leave of a copy
# In GGUF these have their rows in another order (llama.cpp's rope layout).
_REORDERED = ("attn_q.weight", "attn_k.weight", "attn_qkv.weight")


def weights(run: Run, base: Base, fit: Fit) -> Iterator[Evidence]:
    """Compare a few rows of a few modules; nothing where the base's weights are no GGUF file here."""
    if base.gguf is None:
        return
    try:
        for method, compare, what in (
            ("frozen", _copied, "copies of the base's weights"),
            ("saved", _copied, "modules that training saved whole"),
            ("dora", _norms, "DoRA's magnitudes"),
        ):
            chosen = [item for item in run.trained if item.method == method and _comparable(item, fit)][:_MODULES]
            found = [difference for item in chosen if (difference := compare(item, base, fit)) is not None]
            if found:
                yield _evidence(what, method, median(found), len(found), base.quantized)
    except (GgshipError, OSError):
        return  # what cannot be read is found and explained where it is needed


def _evidence(what: str, method: str, difference: float, count: int, quantized: bool) -> Evidence:
    from ggship.bases.fingerprint import Evidence

    text = f"{what} are {difference:.1%} from the base's ({count} looked at)"
    if method == "frozen":
        near = difference <= (_COARSE if quantized else _ROUNDED)
        far = "impossible" if difference >= _FAR else "unlikely"
        return Evidence("weights", ("fits" if quantized else "same") if near else far, text)
    if difference >= _FAR:  # a learning rate that was far too high gets there too
        return Evidence("weights", "unlikely", text)
    return Evidence("weights", "fits" if difference <= _NEAR else "doubt", text)


def _comparable(item: TrainedModule, fit: Fit) -> bool:
    target = fit.targets.get(item.name, "")
    part = item.parts.get("lora_magnitude_vector" if item.method == "dora" else "weight")
    wanted = 1 if item.method == "dora" else 2
    return part is not None and len(part.shape) == wanted and bool(target) and not target.endswith(_REORDERED)


def _norms(item: TrainedModule, base: Base, fit: Fit) -> float | None:
    """Median relative difference of magnitudes and row norms."""
    magnitudes = _read(item, "lora_magnitude_vector")
    rows = _rows(base, fit.targets[item.name], len(magnitudes))
    if rows is None:
        return None
    chosen, values = rows
    norms = np.linalg.norm(values.astype(np.float64), axis=1)
    known = norms > 0
    if not known.any():
        return None
    return float(np.median(np.abs(magnitudes[chosen][known] - norms[known]) / norms[known]))


def _copied(item: TrainedModule, base: Base, fit: Fit) -> float | None:
    """|copy - base| / |base| over the rows."""
    copy = _read(item, "weight")
    rows = _rows(base, fit.targets[item.name], len(copy))
    if rows is None:
        return None
    chosen, values = rows
    size = float(np.linalg.norm(values))
    return float(np.linalg.norm(copy[chosen] - values)) / size if size else None


def _read(item: TrainedModule, part: str) -> NDArray[np.float64]:
    reader = TensorReader()
    try:
        header = item.parts[part]
        values: NDArray[Any] = to_float32(header, reader.read(header))
    finally:
        reader.close()
    return values.astype(np.float64)


def _rows(base: Base, target: str, count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]] | None:
    """(which, weights) of rows spread over a matrix of the base; None where it has other rows, or cannot be read."""
    assert base.gguf is not None
    model, kernels = read_model(base.gguf), best_kernels()
    tensor = model.tensor(target)
    if tensor is None or len(tensor.shape) != 2 or tensor.rows < count or not kernels.reads(tensor.type):
        return None
    chosen = np.unique(np.linspace(0, count - 1, min(_ROWS, count)).astype(np.intp))
    row_bytes = tensor.type.row_bytes(tensor.columns)
    data = np.empty((len(chosen), row_bytes), np.uint8)
    with Source(model) as source:
        for number, row in enumerate(chosen):
            source.read_into(data[number].data, tensor.offset + int(row) * row_bytes)
    values = np.empty((len(chosen), tensor.columns), np.float32)
    kernels.dequantize(tensor.type, data, values)
    return chosen, values
