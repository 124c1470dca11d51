"""Copy a model into one GGUF file: parts joined, some metadata changed, every tensor byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ggship.gguf.parts import Source, parts_of
from ggship.gguf.reader import GgufFile
from ggship.gguf.writer import GgufWriter, NewTensor, changed_metadata


def copy_model(
    model: GgufFile,
    out: Path,
    changes: Mapping[str, Any] | None = None,
    on_tensor: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the model to `out`; metadata set to the values of `changes`, or removed where those are None.

    on_tensor(done, of) is called after each tensor. Raises BadFile, Busy and OSError as
    GgufWriter does; then `out` is as it was before. Law: the tensors' bytes, names, types and order are the model's.
    """
    if out in parts_of(model):
        raise ValueError(f"{out} would overwrite what it is copied from")
    metadata = changed_metadata(model.metadata, changes or {})
    new = [NewTensor(tensor.name, tensor.shape, tensor.type) for tensor in model.tensors]
    with Source(model) as source, GgufWriter(out, metadata, new, alignment=model.alignment) as writer:
        for number, (old, tensor) in enumerate(zip(model.tensors, writer.tensors, strict=True)):
            file, start = source.place(old.offset)
            writer.copy_from(file, start, tensor.offset, old.nbytes)
            if on_tensor:
                on_tensor(number + 1, len(model.tensors))
    return out
