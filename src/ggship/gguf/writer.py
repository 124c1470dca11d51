"""Write a GGUF file: sizes are known first, data may come in any order, nothing half-written stays."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

from ggship.errors import BadFile, Busy
from ggship.gguf.reader import DEFAULT_ALIGNMENT, MAGIC, TensorInfo, read_gguf
from ggship.gguf.types import GgmlType
from ggship.gguf.values import GgufValue, encode

VERSION = 3
_COPY_BYTES = 1 << 20
_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NewTensor:
    """A tensor to be written. shape: numpy's order, [out_features, in_features]; rows hold whole blocks."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        elements = 1
        for size in self.shape:
            elements *= size
        return self.type.row_bytes(elements)


def changed_metadata(base: Mapping[str, GgufValue], changes: Mapping[str, Any]) -> dict[str, GgufValue]:
    """Metadata with some keys replaced or added, and those removed whose new value is None. Untouched bytes stay."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = encode(value, like=base.get(key))
    return result


class GgufWriter:
    """Writes OUT.partial beside OUT and renames it into place.

    As a context manager: leaving it normally finishes the file (all on disk, header read back and compared, renamed);
    leaving it by an error removes the partial file. Space for the whole file is taken at the start, so that a full
    disk is an OSError before any work. Two at once on one OUT would write into each other: the second gets Busy.
    `write_at` may be called from several threads.
    Law: read_gguf of the result gives the same metadata bytes, names, shapes and types, in the same order.
    """

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, GgufValue],
        tensors: Iterable[NewTensor],
        *,
        alignment: int = DEFAULT_ALIGNMENT,
    ) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self._metadata = dict(metadata)
        self._new = tuple(tensors)
        header = _header(self._metadata, self._new, alignment)
        at = len(header)
        placed = []
        for tensor in self._new:
            placed.append(TensorInfo(tensor.name, tensor.shape, tensor.type, at, tensor.nbytes))
            at += _padded(tensor.nbytes, alignment)
        self.tensors: tuple[TensorInfo, ...] = tuple(placed)
        self.size = at
        self._header = header
        self._fd = -1
        self._flushing: Thread | None = None

    def __enter__(self) -> GgufWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = _open_alone(self.partial)
        try:
            os.ftruncate(self._fd, 0)
            _reserve(self._fd, self.size)
            self.write_at(0, self._header)
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._finish()
        except BaseException:
            self._abandon()
            raise

    @property
    def fd(self) -> int:
        """The partial file's descriptor, open for reading and writing."""
        return self._fd

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at an offset from the file's start; several threads may do so."""
        view = memoryview(data).cast("B")
        while view.nbytes:
            done = os.pwrite(self._fd, view, offset)
            offset += done
            view = view[done:]

    def flush_behind(self) -> None:
        """Have what was written so far put on the disk while more is made: less is left to wait for at the end."""
        if self._flushing is None or not self._flushing.is_alive():
            self._flushing = Thread(target=_flush, args=(self._fd,), name="ggship-flush", daemon=True)
            self._flushing.start()

    def copy_from(self, source: int, start: int, offset: int, count: int) -> None:
        """Copy `count` bytes of another open file, in the kernel where it can."""
        while count:
            done = _copy_in_kernel(source, self._fd, start, offset, count)
            if not done:
                chunk = os.pread(source, min(count, _COPY_BYTES), start)
                if not chunk:
                    raise BadFile("a GGUF file became shorter while it was read", where=str(self.path))
                self.write_at(offset, chunk)
                done = len(chunk)
            start, offset, count = start + done, offset + done, count - done

    def _finish(self) -> None:
        self._flushed()
        os.fsync(self._fd)
        written = read_gguf(self.partial)
        same = written.tensors == self.tensors and list(written.metadata) == list(self._metadata)
        if not same or any(value.raw() != self._metadata[key].raw() for key, value in written.metadata.items()):
            raise BadFile("the file read back is not what was written", where=str(self.partial), hint="Check the disk.")
        self.partial.replace(self.path)
        self._close()
        _sync_folder(self.path.parent)

    def _abandon(self) -> None:
        if self._fd >= 0:
            self._flushed()
            self.partial.unlink(missing_ok=True)
            self._close()

    def _flushed(self) -> None:
        if self._flushing is not None:
            self._flushing.join()

    def _close(self) -> None:
        """The file has its last name, or none, by now: with its descriptor goes the lock."""
        os.close(self._fd)
        self._fd = -1


def _flush(fd: int) -> None:
    with suppress(OSError):  # the fsync at the end meets the same disk, and says so
        (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(fd)


def _header(metadata: Mapping[str, GgufValue], tensors: tuple[NewTensor, ...], alignment: int) -> bytes:
    """Everything before the data, padded to the alignment."""
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_text(key), struct.pack("<I", value.type), value.raw()]
    at = 0
    for tensor in tensors:
        dims = tensor.shape[::-1]
        parts.append(_text(tensor.name))
        parts.append(struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, tensor.type, at))
        at += _padded(tensor.nbytes, alignment)
    header = b"".join(parts)
    return header + bytes(_padded(len(header), alignment) - len(header))


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _open_alone(partial: Path) -> int:
    """Open it for reading and writing, with a lock that ends with the process, however; Busy where another has it."""
    while True:
        fd = os.open(partial, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            _lock(fd, partial)
            if _is_at(fd, partial):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # another finished it, or gave it up, before we had the lock


def _lock(fd: int, partial: Path) -> None:
    """Take the lock. A moment is given to the workers of a ggship that was killed: they hold it until they see that."""
    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < patience:
                time.sleep(0.02)
                continue
            raise Busy(
                "another ggship writes that file",
                where=str(partial),
                hint="run the same command again when it has ended",
            ) from None
        except (ImportError, OSError):
            pass  # a file system without locks
        return


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _reserve(fd: int, size: int) -> None:
    """Take the space at once. Where the file system cannot, the file only gets its length."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
            return
        except OSError as error:
            import errno

            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    os.ftruncate(fd, size)


def _copy_in_kernel(source: int, target: int, start: int, offset: int, count: int) -> int:
    """Bytes copied by the kernel, 0 where it cannot copy between these files."""
    if not hasattr(os, "copy_file_range"):
        return 0
    try:
        return os.copy_file_range(source, target, count, start, offset)
    except OSError as error:
        import errno

        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return 0


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where folders can be synced."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        return
    finally:
        os.close(fd)
