"""Read a base from a GGUF file's header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ggship.bases.model import Base, BaseTensor
from ggship.errors import BadFile, Refused
from ggship.gguf.parts import read_model
from ggship.gguf.reader import GgufFile
from ggship.gguf.values import ValueType

_LONG = 64  # items of an array that is still worth keeping: the vocabulary has 100,000


def base_from_gguf(file: Path, *, ref: str = "", found: str = "as you named it") -> Base:
    """The base in that file, or in that and the other parts of a split one, whichever was named.

    Raises BadFile where it is damaged or parts are missing, Refused where it is no language model.
    """
    header = read_model(file)
    metadata = _short_values(header)
    _refuse_parts(file, header, metadata)
    template = metadata.get("tokenizer.chat_template")
    return Base(
        ref=ref or str(file),
        architecture=header.architecture,
        found=found,
        gguf=header.path,
        tensors={tensor.name: BaseTensor(tensor.name, tensor.shape, tensor.type_name) for tensor in header.tensors},
        metadata=metadata,
        chat_template=template if isinstance(template, str) else None,
    )


def _short_values(header: GgufFile) -> dict[str, Any]:
    return {
        key: value.decode()
        for key, value in header.metadata.items()
        if value.type is not ValueType.ARRAY or value.count <= _LONG
    }


def _refuse_parts(file: Path, header: GgufFile, metadata: dict[str, Any]) -> None:
    if not header.architecture:
        raise BadFile("the GGUF file names no architecture", where=str(file), hint="is it a language model?")
    kind = metadata.get("general.type", "model")
    if kind != "model":
        raise Refused(
            f"that GGUF file is no base model: its general.type is {kind}",
            where=str(file),
            hint="pass the model that the adapter was trained on with --base",
        )
