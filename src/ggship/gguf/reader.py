"""Read the header of a GGUF file: metadata and where each tensor lies, never the tensors' data.

Our own, because gguf.GGUFReader decodes every token of the vocabulary (seconds for 150,000 of them), imports numpy, and
trusts counts and offsets. Here long arrays are skipped and decoded when asked, and everything is checked against the
size of the file. Source of the layout: the GGUF specification and gguf.cpp.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ggship.errors import BadFile
from ggship.gguf.types import GgmlType
from ggship.gguf.values import SIZES, GgufValue, ValueType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMS = 4
KEPT_BYTES = 4096  # values up to this size are kept in memory, longer ones stay in the file
_SMALLEST_PAIR = 8 + 1 + 4 + 1  # key length, a key of one letter, value type, a one-byte value
_SMALLEST_TENSOR = 8 + 1 + 4 + 4 + 8  # name length, a name of one letter, dimension count, type, offset
# No model comes near these, and within them a hostile header is read in seconds and in less than a gigabyte: the
# largest vocabularies have 262,144 tokens, and 20 MB of header with them.
MOST_HEADER_BYTES = 128 << 20
MOST_KEYS = 1 << 16
MOST_TENSORS = 200_000
MOST_STRINGS = 4_000_000
MOST_NUMBERS = 16_000_000
_LONGEST_NAME = 1 << 16  # of a key, by the specification; ggml's tensors have 63 letters at most
_SETTLED_NS = 2_000_000_000  # a change younger than this may share its tick of the clock with the next one
_REMEMBERED = 16
_HINT = "Download or convert the file again; `sha256sum` beside the publisher's digest tells whether it arrived whole."


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a GGUF file. shape: numpy's order, [out_features, in_features]; offset: from the file's start."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int
    nbytes: int

    @property
    def type_name(self) -> str:
        """The name that ggml gives the type: Q4_1, F16."""
        return self.type.name

    @property
    def columns(self) -> int:
        """Weights in one row."""
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        """Rows of all matrices together: the product of all dimensions but the last."""
        return self.elements // self.columns if self.columns else 0

    @property
    def elements(self) -> int:
        """Weights in all."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class GgufFile:
    """The header of a GGUF file. size is the file's, in bytes; tensors are in the order of the header."""

    path: Path
    size: int
    version: int
    alignment: int
    data_offset: int
    metadata: Mapping[str, GgufValue]
    tensors: tuple[TensorInfo, ...]

    def get(self, key: str, default: Any = None) -> Any:
        """The decoded value of a metadata key, or `default` where the file has none."""
        value = self.metadata.get(key)
        return default if value is None else value.decode()

    @property
    def architecture(self) -> str:
        """GGUF's name of the architecture (llama, qwen2), "" where the file names none."""
        value = self.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    def item(self, key: str, index: int) -> Any:
        """One item of a metadata array; None where the file has no such array, or it has no such item."""
        value = self.metadata.get(key)
        return None if value is None else value.item_at(index)

    def tensor(self, name: str) -> TensorInfo | None:
        """The tensor of that name, or None."""
        return next((tensor for tensor in self.tensors if tensor.name == name), None)


def read_gguf(path: Path) -> GgufFile:
    """Read a GGUF header (version 2 or 3, little endian).

    Raises BadFile, with the key or tensor at fault, for anything that is not a whole GGUF file: wrong magic, counts
    that cannot be, truncation anywhere, tensors outside the file or over each other. OSError where it cannot be opened.
    A file that did not change since this process last read it is not walked again: the header is remembered.
    """
    path = Path(path)
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        stamp = (str(path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known = _known.get(stamp)
        if known is not None:
            return known
        if stat.st_size < 24:
            start = file.read(4)
            _refuse(
                path, "not a GGUF file" if start != MAGIC else "the GGUF file is truncated", f"{stat.st_size} bytes"
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            read = _Parser(path, data, stat.st_size).parse()
    if time.time_ns() - stat.st_mtime_ns > _SETTLED_NS:
        while len(_known) >= _REMEMBERED:
            _known.pop(next(iter(_known)), None)
        _known[stamp] = read
    return read


_known: dict[tuple[str, int, int, int, int], GgufFile] = {}


def _refuse(path: Path, message: str, where: str) -> NoReturn:
    raise BadFile(message, where=f"{path}: {where}", hint=_HINT)


class _Parser:
    """Walks a header once, from front to back; `at` never passes the end of the file."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self.path = path
        self.data = data
        self.size = size
        self.at = 0
        self.part = "header"

    def fail(self, problem: str) -> NoReturn:
        _refuse(self.path, "the GGUF file is damaged", f"{self.part}: {problem}")

    def take(self, count: int) -> int:
        """Step over `count` bytes and give where they began."""
        start = self.at
        if count > self.size - start:
            _refuse(
                self.path,
                "the GGUF file is truncated",
                f"{self.part} needs {count} bytes at {start}, the file ends at {self.size}",
            )
        self.at = start + count
        return start

    def number(self, code: str, size: int) -> int:
        value: int = struct.unpack_from(code, self.data, self.take(size))[0]
        return value

    def text(self) -> str:
        length = self.number("<Q", 8)
        if length > _LONGEST_NAME:
            self.fail(f"a name of {length} bytes")
        start = self.take(length)
        try:
            return self.data[start : self.at].decode("utf-8")
        except UnicodeDecodeError:
            self.fail("a name is not UTF-8")

    def parse(self) -> GgufFile:
        start = self.take(4)
        if self.data[start:4] != MAGIC:
            _refuse(self.path, "not a GGUF file", f"it begins with {self.data[0:4]!r}, not {MAGIC!r}")
        version = self.number("<I", 4)
        if version & 0xFFFF == 0 and version:
            _refuse(self.path, "this GGUF file is big endian", "ggship reads little-endian files")
        if version not in VERSIONS:
            _refuse(self.path, f"GGUF version {version} is not supported", f"ggship reads versions {VERSIONS}")
        tensor_count, pair_count = self.number("<Q", 8), self.number("<Q", 8)
        left = self.size - self.at
        if pair_count > left // _SMALLEST_PAIR or tensor_count > left // _SMALLEST_TENSOR:
            self.fail(f"{tensor_count} tensors and {pair_count} keys cannot fit into {self.size} bytes")
        if pair_count > MOST_KEYS or tensor_count > MOST_TENSORS:
            self.fail(f"{tensor_count} tensors and {pair_count} keys are more than any model has")
        metadata = self.metadata(pair_count)
        alignment = self.alignment(metadata)
        infos = [self.tensor(number) for number in range(tensor_count)]
        data_offset = -(-self.at // alignment) * alignment
        tensors = tuple(self.place(info, data_offset, alignment) for info in infos)
        self.disjoint(tensors)
        return GgufFile(self.path, self.size, version, alignment, data_offset, metadata, tensors)

    def metadata(self, count: int) -> dict[str, GgufValue]:
        found: dict[str, GgufValue] = {}
        for number in range(count):
            self.part = f"metadata key {number + 1} of {count}"
            key = self.text()
            self.part = f"metadata {key}"
            if not key or key in found:
                self.fail("the key is there twice" if key else "the key is empty")
            found[key] = self.value()
        return found

    def value(self) -> GgufValue:
        kind = self.kind()
        start = self.at
        item, count = None, 1
        if kind is ValueType.ARRAY:
            item = self.kind()
            count = self.number("<Q", 8)
            if item is ValueType.ARRAY:
                self.fail("an array of arrays")
            if item is ValueType.STRING:
                self.skip_strings(count)
            else:
                self.take(count * SIZES[item])
                if count > MOST_NUMBERS:
                    self.fail(f"{count} numbers are more than any model has")
        elif kind is ValueType.STRING:
            self.take(self.number("<Q", 8))
        else:
            self.take(SIZES[kind])
        size = self.at - start
        if self.at > MOST_HEADER_BYTES:
            self.fail(f"a header of over {MOST_HEADER_BYTES >> 20} MiB")
        data = self.data[start : self.at] if size <= KEPT_BYTES or kind is not ValueType.ARRAY else None
        return GgufValue(kind, size, item, count, data, self.path, start)

    def kind(self) -> ValueType:
        number = self.number("<I", 4)
        try:
            return ValueType(number)
        except ValueError:
            self.fail(f"value type {number} does not exist")

    def skip_strings(self, count: int) -> None:
        """Step over an array of strings: the one loop that runs once a token."""
        data, at, size = self.data, self.at, self.size
        if count > (size - at) // 8:
            self.fail(f"{count} strings cannot fit into {size - at} bytes")
        if count > MOST_STRINGS:
            self.fail(f"{count} strings are more than any vocabulary has")
        length_at = struct.Struct("<Q").unpack_from
        number = 0
        try:
            for number in range(count):  # noqa: B007  (for the message)
                at += 8 + length_at(data, at)[0]
        except (struct.error, OverflowError):
            self.fail(f"the file ends inside string {number + 1} of {count}")
        if at > size:
            self.fail("the file ends inside the last strings")
        self.at = at

    def alignment(self, metadata: Mapping[str, GgufValue]) -> int:
        self.part = "metadata general.alignment"
        value = metadata.get("general.alignment")
        if value is None:
            return DEFAULT_ALIGNMENT
        number = value.decode()
        if value.type is not ValueType.UINT32 or number == 0 or number & (number - 1):
            self.fail(f"{number!r} is no power of two")
        return int(number)

    def tensor(self, number: int) -> TensorInfo:
        self.part = f"tensor {number + 1}"
        name = self.text()
        self.part = f"tensor {name}"
        dims = self.number("<I", 4)
        if dims > MAX_DIMS:
            self.fail(f"{dims} dimensions, {MAX_DIMS} at most")
        shape = tuple(self.number("<Q", 8) for _ in range(dims))[::-1]
        kind = self.number("<I", 4)
        offset = self.number("<Q", 8)
        try:
            type_ = GgmlType(kind)
        except ValueError:
            self.fail(f"tensor type {kind} is not known to this version of ggship")
        columns = shape[-1] if shape else 1
        if columns % type_.block:
            self.fail(f"rows of {columns} weights, but {type_.name} has blocks of {type_.block}")
        elements = 1
        for size in shape:
            elements *= size
        return TensorInfo(name, shape, type_, offset, elements // type_.block * type_.block_bytes)

    def place(self, info: TensorInfo, data_offset: int, alignment: int) -> TensorInfo:
        """The same tensor, its offset counted from the start of the file."""
        self.part = f"tensor {info.name}"
        if info.offset % alignment:
            self.fail(f"offset {info.offset} is not a multiple of the alignment {alignment}")
        start = data_offset + info.offset
        if start + info.nbytes > self.size:
            _refuse(
                self.path,
                "the GGUF file is truncated",
                f"{self.part} ends at byte {start + info.nbytes}, the file at {self.size}",
            )
        return TensorInfo(info.name, info.shape, info.type, start, info.nbytes)

    def disjoint(self, tensors: tuple[TensorInfo, ...]) -> None:
        names: set[str] = set()
        end = 0
        for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
            self.part = f"tensor {tensor.name}"
            if tensor.name in names:
                self.fail("the tensor is there twice")
            if tensor.offset < end:
                self.fail("it lies over another tensor")
            names.add(tensor.name)
            end = tensor.offset + tensor.nbytes
