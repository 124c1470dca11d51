"""Digests of files, remembered so that a file that did not change is not read again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ggship.settings import state_dir

CHUNK_BYTES = 1 << 20
_REMEMBERED_AT_MOST = 2000


def sha256_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """The sha256 of a file's content, in hex. `on_bytes` hears how many bytes were read since its last call."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            if on_bytes:
                on_bytes(len(chunk))
    return digest.hexdigest()


def digest_of(value: Mapping[str, Any]) -> str:
    """The sha256 of a JSON value in canonical form: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # names of files may hold any bytes


class DigestCache:
    """sha256 by path, size, inode and time of last change (ns), kept in the user's state directory.

    Good for skipping work, never for a proof: `ggship verify` reads every byte. A file changed within the last two
    seconds is not remembered, since a second change could fall into the same tick of a coarse file system.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or state_dir() / "digests.json"
        self._known: dict[str, list[Any]] | None = None

    def sha256(self, path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
        """The file's sha256, remembered or computed."""
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        key = str(path.resolve())
        known = self._load()
        entry = known.get(key)
        if entry and entry[:3] == stamp:
            return str(entry[3])
        digest = sha256_file(path, on_bytes)
        after = path.stat()
        settled = _now_ns() - after.st_mtime_ns > 2_000_000_000
        if settled and [after.st_size, after.st_mtime_ns, after.st_ino] == stamp:
            known[key] = [*stamp, digest]
            self._save(known)
        return digest

    def remembered(self, path: Path) -> str:
        """The file's sha256 where it is known without reading the file, else ""."""
        try:
            stat = path.stat()
        except OSError:
            return ""
        entry = self._load().get(str(path.resolve()))
        return str(entry[3]) if entry and entry[:3] == [stat.st_size, stat.st_mtime_ns, stat.st_ino] else ""

    def having(self, sha256: str) -> tuple[Path, ...]:
        """The files that had this sha256 when they were read, and did not change since."""
        found = [Path(path) for path, entry in self._load().items() if entry[3:] == [sha256]]
        return tuple(path for path in found if self.remembered(path) == sha256)

    def _load(self) -> dict[str, list[Any]]:
        if self._known is None:
            try:
                loaded = json.loads(self._path.read_text("utf-8"))
            except (OSError, ValueError):
                loaded = {}
            self._known = loaded if isinstance(loaded, dict) else {}
        return self._known

    def _save(self, known: dict[str, list[Any]]) -> None:
        while len(known) > _REMEMBERED_AT_MOST:
            known.pop(next(iter(known)))
        with suppress(OSError):  # where nothing can be remembered, files are read again: slow, and nothing worse
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, json.dumps(known))


def write_text(path: Path, text: str) -> None:
    """Write a text file beside its place and rename it in: a reader sees the old or the new one, never half of it.

    Half a surrogate pair, which names of files may hold, is written as JSON escapes it.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Like write_text, for bytes."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _now_ns() -> int:
    import time

    return time.time_ns()
