"""Find the file of a certain sha256 among the models that this machine already has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ggship.bases.hub import cache_directory
from ggship.bases.refs import resolve_ref
from ggship.bases.served import OllamaLister
from ggship.digests import DigestCache, digest_of
from ggship.errors import BaseNotFound, Refused, ServerError
from ggship.progress import Progress, Reading
from ggship.releases import known_names, recall
from ggship.runner import run_subprocess
from ggship.runtimes.shown import blob_digests, blob_paths
from ggship.stages.base_file import BaseFile

# Where an Ollama keeps its models: of the user, and of the service that its installer makes.
_STORES = ("~/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models")


def find_by_digest(
    sha256: str, called: str, *, ref: str | None = None, ollama: OllamaLister | None = None, progress: Progress
) -> Path:
    """The base with that sha256: the one that the user names, else one that Ollama, the hub's cache or ggship know.

    called: the base in words, for errors. Every byte of what is found is held against the digest. Raises BaseNotFound
    with all that was looked at, Refused where what the user names is another model.
    """
    if ref is not None:
        return _named(ref, sha256, called, ollama, progress)
    looked: list[str] = []
    digests = DigestCache()
    for place, path in _candidates(sha256, called, digests, ollama, looked):
        if _sha256((path,), digests, progress) == sha256:
            return path
        looked.append(f"{place}: {path} has another sha256")
    raise BaseNotFound(
        f"the base that this bundle is merged into is not here: {called}",
        where="\n".join([f"wanted: sha256 {sha256}", *looked]),
        hint=f"bring it first (`ollama pull {called.removeprefix('ollama:')}`)"
        if called.startswith("ollama:")
        else "name it: --base FILE.gguf",
    )


def _named(ref: str, sha256: str, called: str, ollama: OllamaLister | None, progress: Progress) -> Path:
    digests = DigestCache()
    weights = BaseFile(resolve_ref(ref, ollama=ollama), digests, run_subprocess)
    path = weights.source(progress)
    found = _sha256(weights.parts() or (path,), digests, progress)
    if found != sha256:
        raise Refused(
            "this is another base than the bundle was made with",
            where=f"{ref}: sha256 {found[:16]}..., the bundle's is {sha256[:16]}... ({called})",
            hint="name the right one with --base",
        )
    return path


def _candidates(
    sha256: str, called: str, digests: DigestCache, ollama: OllamaLister | None, looked: list[str]
) -> Iterator[tuple[str, Path]]:
    """(where, file) of all that by its name, or by what is remembered of it, is the base."""
    yield from _served(sha256, called, ollama, looked)
    named = os.environ.get("OLLAMA_MODELS")
    for store in dict.fromkeys(([named] if named else []) + list(_STORES)):
        blob = Path(store).expanduser() / "blobs" / f"sha256-{sha256}"
        if os.access(blob, os.R_OK):
            yield "Ollama's models", blob
    looked.append("the folders where Ollama keeps models: nothing")
    for blob in sorted(cache_directory().glob(f"models--*/blobs/{sha256}")):
        yield "the Hugging Face cache", blob
    looked.append("the Hugging Face cache: nothing")
    for name in known_names():
        known = recall(name)
        if known and Path(known.base).is_file() and digests.remembered(Path(known.base)) in ("", sha256):
            yield f"the base of {name}", Path(known.base)
    for path in digests.having(sha256):
        yield "a file that ggship has read before", path
    looked.append("files that ggship has read before: none of them")


def _served(sha256: str, called: str, ollama: OllamaLister | None, looked: list[str]) -> Iterator[tuple[str, Path]]:
    if ollama is None:
        looked.append("Ollama: no server was asked")
        return
    held = ""
    try:
        for name in ollama.tags():
            shown = ollama.show(name)
            found = blob_digests(shown, "FROM")[:1]
            if found != [sha256]:
                if found and called.removesuffix(":latest") == f"ollama:{name}".removesuffix(":latest"):
                    # Ollama 0.30 to 0.34.0 rewrite a GGUF that a model is created from (llama-quantize COPY).
                    looked.append(f"Ollama's {name} is another file: sha256 {found[0]}")
                continue
            held = name
            path = Path(blob_paths(shown, "FROM")[0])
            if os.access(path, os.R_OK) and ollama.is_local():
                yield f"Ollama's {name}", path
                return
    except ServerError as error:
        looked.append(f"Ollama: {error}")
        return
    looked.append(f"Ollama holds it as {held}, but its files cannot be read from here" if held else "Ollama: nothing")


def _sha256(files: tuple[Path, ...], digests: DigestCache, progress: Progress) -> str:
    """Of the file; of a split model, over the digests of its parts (stages/weights.py)."""
    reading = Reading(progress, "Reading the base", sum(path.stat().st_size for path in files))
    found = [digests.sha256(path, reading) for path in files]
    reading.done()
    return found[0] if len(found) == 1 else digest_of({"parts": found})
