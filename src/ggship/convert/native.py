"""The native converter: a PEFT adapter to GGUF with numpy, one tensor at a time.

Writes the same tensors, bit for bit, and the same metadata as llama.cpp's convert_lora_to_gguf.py (the vendored
release) for the architectures of `placement`, whose rules were read in its `conversion/` package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import gguf
import numpy as np

from ggship.convert.metadata import describe
from ggship.convert.pairs import times
from ggship.convert.placement import Placed
from ggship.convert.tensors import Array, TensorReader, encode, encode_float32, is_zero, tensor_reader, to_float32
from ggship.runs.model import Run

_TYPES: dict[str, Any] = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
}


def write_adapter(
    run: Run,
    placed: Sequence[Placed],
    out: Path,
    *,
    architecture: str,
    outtype: str = "f32",
    on_tensor: Callable[[int, int], None] | None = None,
) -> bool:
    """Write the adapter GGUF to `out`: equal inputs, equal bytes. Memory: about one tensor.

    Returns whether it was trained: whether any pair holds anything but zeros in A and in B.
    Raises AdapterUnusable for NaN or Inf, BadFile for a file cut off, NotExpressible for a number that does not fit
    into `outtype`. After an error `out` is not whole.
    """
    writer = gguf.GGUFWriter(path=None, arch=architecture)
    for place in placed:
        _announce(writer, f"{place.target}.lora_a", place.a_shape, outtype)
        _announce(writer, f"{place.target}.lora_b", place.module.b.shape, outtype)
    alpha = float(run.config["lora_alpha"])
    describe(writer, run.path.resolve(), alpha, run.config.get("alora_invocation_tokens"))
    trained = False
    with tensor_reader() as reader:
        try:
            writer.write_header_to_file(out)
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            file: BinaryIO = writer.fout[0]
            _pad(file)
            for number, place in enumerate(placed, start=1):
                a = _a(reader, place, outtype)
                _append(file, a)
                stored = reader.read(place.module.b)
                trained = trained or not (is_zero(a) or is_zero(stored))
                _append(file, _b(place, stored, outtype))
                if on_tensor:
                    on_tensor(2 * number, 2 * len(placed))
        finally:
            writer.close()
    return trained


def permuted(b: Array, heads: int) -> Array:
    """Rows of B [out_features, rank] in llama.cpp's order: within each head, the two halves interleaved.

    transformers rotates the halves of a head against each other, llama.cpp neighbours (LlamaModel.permute).
    """
    rows, rank = b.shape
    return np.ascontiguousarray(b.reshape(heads, 2, rows // heads // 2, rank).swapaxes(1, 2)).reshape(rows, rank)


def _announce(writer: gguf.GGUFWriter, name: str, shape: Sequence[int], outtype: str) -> None:
    size = prod(shape) * (4 if outtype == "f32" else 2)
    writer.add_tensor_info(name, tuple(shape), np.dtype(np.float32), size, raw_dtype=_TYPES[outtype])


def _append(file: BinaryIO, array: Array) -> None:
    # numpy's tofile, which gguf's writer would use, loses the errno of a full disk.
    file.write(array.data)
    _pad(file)


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % gguf.GGUF_DEFAULT_ALIGNMENT))


def _a(reader: TensorReader, place: Placed, outtype: str) -> Array:
    header = place.module.a
    array = encode(header, reader.read(header), outtype)
    return np.ascontiguousarray(array.T) if place.module.embedding else array


def _b(place: Placed, stored: Array, outtype: str) -> Array:
    header = place.module.b
    if place.factor == 1.0:
        array = encode(header, stored, outtype)
    else:
        array = encode_float32(header, times(to_float32(header, stored), place.factor), outtype)
    return permuted(array, place.heads) if place.heads else array
