"""Read the header of a safetensors file, strictly, without its data.

Format: 8 bytes of header length (unsigned, little endian), that many bytes of JSON, then the tensors' bytes, without
gaps or overlaps (github.com/huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ggship.errors import BadFile
from ggship.runs.model import TensorHeader

# The reference implementation allows 100 MB; parsed, that may take gigabytes. An adapter on every expert of a model
# with 15,000 of them has 14 MB.
MAX_HEADER_BYTES = 32_000_000
MOST_TENSORS = 300_000
_LONGEST_NAME = 400
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_LOOKS_LIKE = {
    b"PK\x03\x04": ("it is a zip archive, as torch.save writes", "save it again with safe_serialization=True"),
    b"GGUF": ("it is a GGUF file", "pass it with --base if it is the base model"),
    b"version ": ("it is a Git LFS pointer, not the weights", "git lfs pull"),
    b"<!DOCTYP": ("it is a web page", "download the file itself, not the page about it"),
}


@dataclass(frozen=True, slots=True)
class SafetensorsFile:
    """What the header of one file says. `metadata` is the free text mapping that the writer left."""

    path: Path
    metadata: Mapping[str, str]
    tensors: Mapping[str, TensorHeader]


def read_headers(file: Path) -> SafetensorsFile:
    """Read and check the header of `file`.

    Law: raises nothing but BadFile, whatever the bytes are; where it returns, the tensors' bytes follow one another
    without gap or overlap from the end of the header to the end of the file, and each is dtype size x shape long.
    """
    try:
        with file.open("rb") as stream:
            size = file.stat().st_size
            prefix = stream.read(8)
            length = _header_length(file, prefix, size)
            text = stream.read(length)
    except OSError as error:
        raise BadFile(
            f"{file.name} cannot be read", where=f"{file}: {error.strerror}", hint=f"ls -l {file}", rule="GS004"
        ) from error
    entries = _parse_json(file, text)
    metadata = _metadata(file, entries.pop("__metadata__", {}))
    start = 8 + length
    tensors = {name: _tensor(file, name, entry, start) for name, entry in entries.items()}
    _check_layout(file, tensors, start, size)
    return SafetensorsFile(file, metadata, tensors)


def _header_length(file: Path, prefix: bytes, size: int) -> int:
    for magic, (what, hint) in _LOOKS_LIKE.items():
        if prefix.startswith(magic):
            raise BadFile(f"{file.name} is no safetensors file: {what}", where=str(file), hint=hint, rule="GS004")
    if size < 8 or len(prefix) < 8:
        _truncated(file, "at least 10", size)
    length: int = struct.unpack("<Q", prefix)[0]
    if length > MAX_HEADER_BYTES:
        _broken(file, "it does not begin like a safetensors file")
    if 8 + length > size:
        _truncated(file, f"at least {8 + length:,}", size)
    return length


def _parse_json(file: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in pairs:
            if name in result:
                raise ValueError(f"{name!r} is there twice")
            result[name] = value
        return result

    if text.count(b"{") > MOST_TENSORS + 2 or text.count(b"[") > 2 * MOST_TENSORS:
        _broken(file, f"its header has more than {MOST_TENSORS:,} entries")
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _broken(file, f"its header is no valid JSON: {error}")
    if not isinstance(entries, dict):
        _broken(file, "its header is no JSON object")
    return entries


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _metadata(file: Path, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        _broken(file, "__metadata__ of its header is no mapping of texts")
    return value


def _tensor(file: Path, name: str, entry: Any, start: int) -> TensorHeader:
    # Names end up on terminals, in file formats and in messages: nothing but printable text may be one.
    if len(name) > _LONGEST_NAME:
        _broken(file, f"a tensor name is {len(name):,} characters long")
    if not name.isprintable():
        _broken(file, f"the tensor name {name!a} is not printable")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _broken(file, f"the entry of {name} has other fields than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        _broken(file, f"{name} has the unknown dtype {ascii(dtype)[:40]}")
    if not _counts(shape):
        _broken(file, f"the shape of {name} is not a list of sizes")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        _broken(file, f"the data_offsets of {name} are not [begin, end]")
    bits = BITS[dtype]
    for extent in shape:
        bits *= extent
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        _broken(
            file, f"{name} is {dtype} {list(shape)}, which takes {bits / 8:,.0f} bytes, not {offsets[1] - offsets[0]:,}"
        )
    return TensorHeader(name, dtype, tuple(shape), file, start + offsets[0], offsets[1] - offsets[0])


def _counts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 64
        and all(type(item) is int and 0 <= item < 1 << 63 for item in value)
    )


def _check_layout(file: Path, tensors: Mapping[str, TensorHeader], start: int, size: int) -> None:
    at = start
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.offset, tensor.nbytes)):
        if tensor.offset != at:
            what = "overlaps the one before it" if tensor.offset < at else "leaves a gap before it"
            _broken(file, f"{tensor.name} {what}: it begins at byte {tensor.offset:,}, not {at:,}")
        at += tensor.nbytes
    if at > size:
        _truncated(file, f"{at:,}", size)
    if at < size:
        _broken(file, f"{size - at:,} bytes follow the last tensor")


def _truncated(file: Path, expected: str, size: int) -> NoReturn:
    raise BadFile(
        f"{file.name} is cut short",
        where=f"{file}: {expected} bytes expected, {size:,} there",
        hint="copy it again from where training ran",
        rule="GS004",
    )


def _broken(file: Path, what: str) -> NoReturn:
    raise BadFile(
        f"{file.name} is damaged: {what}",
        where=str(file),
        hint="copy it again from where training ran",
        rule="GS004",
    )
