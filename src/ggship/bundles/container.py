"""The file itself: a tar archive without compression, of which there is exactly one for the same content.

No times, no owners, no compression whose bytes depend on a library's version. So reading needs no trust in what a
header says: it must be, byte for byte, the header that ggship writes for the name and size that the manifest gives.
Links, devices, absolute paths, sparse files, a second file of a name and archives that unfold are thereby refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ggship.bundles.manifest import MANIFEST, SIGNATURE, BundleFile, Manifest, parse_manifest
from ggship.errors import BadFile, Damaged

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
_MOST_MANIFEST_BYTES = 64 << 20
_MOST_SIGNATURE_BYTES = 1 << 20
_AGAIN = "copy the file again; `sha256sum` on both machines tells whether it arrived whole"

OnBytes = Callable[[int], None]


def header(name: str, size: int) -> bytes:
    """The 512 bytes in front of a file. GNU's format, since it alone has both plain names and sizes above 8 GB."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle. signature: b"" where it has none. starts: where each file's content begins, by its name."""

    path: Path
    manifest: Manifest
    raw: bytes
    signature: bytes
    starts: dict[str, int]


def write_bundle(
    out: Path, manifest: Manifest, signature: bytes, contents: Callable[[BundleFile], Iterable[bytes]]
) -> None:
    """Write beside `out` and rename: what was there stays until the new one is whole.

    contents: the bytes of each file of the manifest. Raises Damaged where they are others than it says.
    """
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            raw = manifest.encode()
            for name, data in ((MANIFEST, raw), *(((SIGNATURE, signature),) if signature else ())):
                _put(file, name, len(data), [data])
            for entry in manifest.files:
                _put(file, entry.name, entry.bytes, _checked(entry, contents(entry)))
            file.write(bytes(_end(file.tell()) - file.tell()))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def open_bundle(path: Path) -> Bundle:
    """Read the manifest of a bundle, and hold every header against it; no content is read yet.

    Raises BadFile where it is none, where it is cut off, and where anything in it is not as ggship writes it.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        raw = _small(file, path, MANIFEST, _MOST_MANIFEST_BYTES)
        if raw is None:
            raise BadFile(
                "this is not a bundle of ggship", where=str(path), hint="ggship export NAME -o FILE makes one"
            )
        manifest = parse_manifest(raw, str(path))
        signature = _small(file, path, SIGNATURE, _MOST_SIGNATURE_BYTES) or b""
        starts, at = {}, file.tell()
        for entry in manifest.files:
            starts[entry.name] = at + _BLOCK
            at += _BLOCK + _padded(entry.bytes)
        if size != _end(at):
            cut = size < _end(at)
            raise BadFile(
                "the bundle is cut off" if cut else "there is more in the bundle than it says",
                where=f"{path}: {size:,} of {_end(at):,} bytes" if cut else f"{path}: {size:,} bytes, not {_end(at):,}",
                hint=_AGAIN,
            )
        for entry in manifest.files:
            file.seek(starts[entry.name] - _BLOCK)
            if file.read(_BLOCK) != header(entry.name, entry.bytes):
                raise BadFile(
                    f"in the bundle, {entry.name} is not a plain file as ggship writes it",
                    where=f"{path}: at byte {starts[entry.name] - _BLOCK:,}",
                    hint=_AGAIN,
                )
            _skip_padding(file, path, starts[entry.name] + entry.bytes, _padded(entry.bytes) - entry.bytes)
        _skip_padding(file, path, at, size - at)
    return Bundle(path, manifest, raw, signature, starts)


def unpack(bundle: Bundle, folder: Path, on_bytes: OnBytes | None = None) -> None:
    """Write every file into `folder`, which must have none of them. Raises Damaged, naming the file, for other bytes.

    A file is there under its name only when its digest was found right.
    """
    with bundle.path.open("rb") as file:
        for entry in bundle.manifest.files:
            target = folder / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.partial")
            partial.unlink(missing_ok=True)
            file.seek(bundle.starts[entry.name])
            with partial.open("xb") as out:
                for data in _checked(entry, _chunks(file, entry.bytes)):
                    out.write(data)
                    if on_bytes:
                        on_bytes(len(data))
            partial.replace(target)


def read_file(bundle: Bundle, name: str, most: int) -> bytes:
    """The content of one small file, its digest checked. Raises BadFile where it has more than `most` bytes."""
    entry = next(entry for entry in bundle.manifest.files if entry.name == name)
    if entry.bytes > most:
        raise BadFile(f"{name} in the bundle is too large", where=f"{bundle.path}: {entry.bytes:,} bytes")
    with bundle.path.open("rb") as file:
        file.seek(bundle.starts[name])
        return b"".join(_checked(entry, _chunks(file, entry.bytes)))


def _put(file: BinaryIO, name: str, size: int, contents: Iterable[bytes]) -> None:
    file.write(header(name, size))
    for data in contents:
        file.write(data)
    file.write(bytes(_padded(size) - size))


def _small(file: BinaryIO, path: Path, name: str, most: int) -> bytes | None:
    """The next file where it is called so; else None, and nothing is read."""
    start = file.tell()
    head = file.read(_BLOCK)
    try:
        size = tarfile.TarInfo.frombuf(head, "utf-8", "strict").size
    except (tarfile.HeaderError, ValueError):
        size = -1
    if size < 0 or head != header(name, size):
        file.seek(start)
        return None
    if size > most:
        raise BadFile(f"{name} in the bundle is too large", where=f"{path}: {size:,} bytes")
    data = file.read(size)
    if len(data) < size:
        raise BadFile("the bundle is cut off", where=f"{path}: within {name}", hint=_AGAIN)
    _skip_padding(file, path, start + _BLOCK + size, _padded(size) - size)
    return data


def _skip_padding(file: BinaryIO, path: Path, start: int, count: int) -> None:
    file.seek(start)
    if file.read(count) != bytes(count):
        raise BadFile("there is more in the bundle than it says", where=f"{path}: at byte {start:,}", hint=_AGAIN)


def _checked(entry: BundleFile, contents: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes; Damaged at their end where they are not those of the entry."""
    digest, count = hashlib.sha256(), 0
    for data in contents:
        digest.update(data)
        count += len(data)
        yield data
    if (count, digest.hexdigest()) != (entry.bytes, entry.sha256):
        raise Damaged(
            f"{entry.name} is not what was packed",
            where=f"{count:,} bytes with sha256 {digest.hexdigest()[:16]}..., "
            f"it should be {entry.bytes:,} with {entry.sha256[:16]}...",
            hint=_AGAIN,
        )


def _chunks(file: BinaryIO | io.BufferedReader, size: int) -> Iterator[bytes]:
    while size > 0:
        data = file.read(min(size, _CHUNK))
        if not data:
            return
        size -= len(data)
        yield data


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _end(size: int) -> int:
    """The length of an archive whose last file ends there: two empty blocks, then up to a whole record of tar."""
    return -(-(size + 2 * _BLOCK) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
