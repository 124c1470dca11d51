"""Replacing a name in the store of an Ollama on this machine, in one instant.

`/api/copy` writes the manifest in its place (server/images.go, CopyModel: os.Create, then io.Copy; 0.32.14 and 0.34.4),
so that whoever asks the name meanwhile finds an empty file: HTTP 500, `{"error":"EOF"}`. 300 copies under clients that
asked all the time failed 43 answers of 418. A file that is renamed into its place has no such moment.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ggship.errors import ServerError
from ggship.runtimes.names import full_name
from ggship.runtimes.ollama_api import OllamaClient
from ggship.runtimes.shown import blob_paths

_PREFIX = ".ggship-"
_OLD_SECONDS = 3600.0
_HOST, _NAMESPACE = "registry.ollama.ai", "library"


def swap_name(client: OllamaClient, source: str, target: str) -> bool:
    """Give `target`, which the server holds, the model of `source`; False, with nothing changed, where that cannot be.

    It is done only where both manifests lie on this machine as files that hash to the digests that the server tells of
    them, and that are ours to write: the very files that it reads. Whoever calls reads the digest again afterwards.
    """
    if not hasattr(os, "geteuid"):
        return False
    try:
        names = {full_name(str(model["name"])).lower(): model for model in client.tags()}
        old, new = names.get(full_name(target).lower()), names.get(full_name(source).lower())
        if old is None or new is None:
            return False
        blobs = blob_paths(client.show(source), "FROM")
    except ServerError:
        return False  # copying meets the same error, and says it
    if not blobs or Path(blobs[0]).parent.name != "blobs":
        return False
    store = Path(blobs[0]).parent.parent / "manifests"
    place = store / manifest_path(str(old["name"]))
    content = _held(store / manifest_path(str(new["name"])), str(new["digest"]))
    if content is None or _held(place, str(old["digest"])) is None:
        return False
    return _replace(place, content, store)


def manifest_path(name: str) -> Path:
    """Where a store has the manifest of that name, below its folder `manifests`."""
    head, _, tag = full_name(name).rpartition(":")
    parts = head.split("/")
    return Path(*[_HOST, _NAMESPACE][: max(0, 3 - len(parts))], *parts, tag)


def _held(path: Path, digest: str) -> bytes | None:
    """The manifest, where it is a file of its own and the server's digest is its own."""
    try:
        content = None if path.is_symlink() else path.read_bytes()
    except OSError:
        return None
    if content is None or hashlib.sha256(content).hexdigest() != digest.removeprefix("sha256:"):
        return None
    return content


def _replace(place: Path, content: bytes, store: Path) -> bool:
    """Rename a file of that content into the place. It is made where the server looks for no names."""
    beside = ""
    try:
        there = place.stat()
        if os.geteuid() not in (0, there.st_uid):
            return False  # the server could not write it any more
        _sweep(store)
        handle, beside = tempfile.mkstemp(prefix=_PREFIX, dir=store)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), there.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(place)
    except OSError:
        if beside:
            with suppress(OSError):
                Path(beside).unlink()
        return False
    return True


def _sweep(store: Path) -> None:
    """Take away what a killed ggship left beside the names, long ago."""
    for left in store.glob(f"{_PREFIX}*"):
        if time.time() - left.stat().st_mtime > _OLD_SECONDS:
            left.unlink()
