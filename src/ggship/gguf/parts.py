"""A model that lies in several GGUF files (NAME-00001-of-00003.gguf) read as if it were one.

What a part says of itself: split.no, split.count and split.tensors.count; the first one has all other metadata
(llama.cpp: tools/gguf-split/gguf-split.cpp, and llama_split_path in src/llama.cpp for the names).
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from ggship.errors import BadFile
from ggship.gguf.reader import GgufFile, read_gguf

_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_KEYS = ("split.no", "split.count", "split.tensors.count")
_HINT = "put all parts into one folder under their own names, or download the missing ones again"


@dataclass(frozen=True, slots=True)
class SplitGguf(GgufFile):
    """The header of a model in several files. path is the first of them, size that of all together.

    parts: the files in order; sizes: their bytes. Offsets of tensors count as if the files lay end to end, so that
    `Source` can read them. metadata is the first part's, without what says that it is a part.
    """

    parts: tuple[Path, ...] = ()
    sizes: tuple[int, ...] = ()


def read_model(path: Path) -> GgufFile:
    """Like read_gguf; where the file is a part of a model, all of the model, whichever part was named.

    Raises BadFile where a part is missing, is another model's, or does not say what the others say.
    """
    header = read_gguf(path)
    count = header.get("split.count", 0)
    if type(count) is not int:
        _refuse(header, f"split.count is {count!r}, which is no number of parts")
    if count <= 1:
        return header
    paths = _paths_of_parts(Path(path), count)
    headers = [read_gguf(part) for part in paths]
    _require_one_model(headers)
    sizes = tuple(part.size for part in headers)
    starts = (0, *accumulate(sizes))
    tensors = tuple(
        replace(tensor, offset=tensor.offset + start)
        for start, part in zip(starts, headers, strict=False)
        for tensor in part.tensors
    )
    first = headers[0]
    metadata = {key: value for key, value in first.metadata.items() if key not in _KEYS}
    return SplitGguf(
        first.path,
        sum(sizes),
        first.version,
        first.alignment,
        first.data_offset,
        metadata,
        tensors,
        parts=paths,
        sizes=sizes,
    )


def parts_of(model: GgufFile) -> tuple[Path, ...]:
    """The files of a model: one, but for a split one."""
    return model.parts if isinstance(model, SplitGguf) else (model.path,)


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of the model that `path` is, or is a part of, all of them there. Raises as read_model does."""
    return parts_of(read_model(path))


def first_part(path: Path) -> str | None:
    """The name that the first part of this part has; None where this is no part, by its name."""
    named = _NAME.fullmatch(path.name)
    return f"{named['stem']}-00001-of-{named['count']}.gguf" if named else None


def names_of_parts(name: str) -> tuple[str, ...]:
    """The names of all parts, of the name of one; of any other name, that alone. It may have folders before it."""
    named = _NAME.fullmatch(name)
    if named is None:
        return (name,)
    count = int(named["count"])
    return tuple(f"{named['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1))


class Source:
    """The bytes of a model, open for reading at any offset, by several threads. A context manager."""

    def __init__(self, model: GgufFile) -> None:
        self._paths = parts_of(model)
        sizes = model.sizes if isinstance(model, SplitGguf) else (model.size,)
        self._starts = (0, *accumulate(sizes))
        self._files: list[int] = []
        self._stack = ExitStack()

    def __enter__(self) -> Source:
        with ExitStack() as stack:
            self._files = [stack.enter_context(path.open("rb")).fileno() for path in self._paths]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def place(self, offset: int) -> tuple[int, int]:
        """(open file, offset in it) of an offset into the whole model."""
        number = bisect_right(self._starts, offset, hi=len(self._files)) - 1
        return self._files[number], offset - self._starts[number]

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill the view with what lies there, in one part. BadFile where the file has become shorter."""
        file, start = self.place(offset)
        read_into(file, view, start)


def read_into(file: int, view: memoryview, offset: int) -> None:
    """Fill the view with bytes of an open file. Raises BadFile where it ends too early."""
    while view.nbytes:
        count = os.preadv(file, [view], offset)
        if count == 0:
            raise BadFile("a GGUF file became shorter while it was read", where=f"at byte {offset}")
        view, offset = view[count:], offset + count


def _paths_of_parts(path: Path, count: int) -> tuple[Path, ...]:
    named = _NAME.fullmatch(path.name)
    if named is None or int(named["count"]) != count:
        raise BadFile(
            f"that GGUF file is one of {count} parts, and its name does not tell where the others are",
            where=str(path),
            hint=f"give the parts their own names again: NAME-00001-of-{count:05}.gguf and so on",
        )
    paths = tuple(path.with_name(name) for name in names_of_parts(path.name))
    missing = [part.name for part in paths if not part.is_file()]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise BadFile(
            f"{len(missing)} of the {count} parts of this model are missing",
            where=f"{path.parent}: {', '.join(missing[:5])}{more}",
            hint=_HINT,
        )
    return paths


def _require_one_model(headers: Sequence[GgufFile]) -> None:
    total = sum(len(part.tensors) for part in headers)
    seen: dict[str, Path] = {}
    for number, part in enumerate(headers):
        for key, wanted in zip(_KEYS, (number, len(headers), total), strict=True):
            said: Any = part.get(key)
            if said != wanted:
                _refuse(part, f"{key} is {said}, where {wanted} belongs")
        for tensor in part.tensors:
            if tensor.name in seen:
                _refuse(part, f"{tensor.name} lies in {seen[tensor.name].name} too")
            seen[tensor.name] = part.path
        if number and part.architecture not in ("", headers[0].architecture):
            _refuse(part, f"its architecture is {part.architecture}, the first part's {headers[0].architecture}")


def _refuse(part: GgufFile, why: str) -> NoReturn:
    raise BadFile("the parts of this GGUF model do not belong together", where=f"{part.path}: {why}", hint=_HINT)
