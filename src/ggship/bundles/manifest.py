"""bundle.json, the first file of a bundle: what follows in it, and how what does not is made again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ggship.errors import BadFile
from ggship.place import DOCUMENT

FORMAT = "ggship-bundle"
SCHEMA = 1
MANIFEST = "bundle.json"
SIGNATURE = "bundle.sig"
MOST_FILES = 1000
MOST_BYTES = 1 << 50
HEADER = "(header)"
"""The name under which a model's metadata and list of tensors has its digest, beside those of its tensors."""

# No part may begin with a dot, so there is no `..`; no colon, no backslash: drives and streams of other systems.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,120}"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,3}}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of the package, as it lies in the bundle: its path there, its size, its sha256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Rebuild:
    """How the merged model, which a thin bundle leaves out, is made again, to the same bytes.

    file, bytes, sha256: of the merged model. adapter: the file of the bundle that is merged into the base, whose sha256
    is base_sha256 and which is called base in words. quant, metadata: what the merge is told (gguf.merge). kernels:
    what quantized it the first time. tensors: name -> (ggml's type, sha256 of its bytes), the header under HEADER.
    """

    file: str
    bytes: int
    sha256: str
    adapter: str
    base: str
    base_sha256: str
    quant: str | None
    metadata: Mapping[str, str]
    kernels: str
    tensors: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds. name: the package's. files: in the order in which they follow.

    Law: parse_manifest(manifest.encode()) == manifest, and equal manifests have equal bytes.
    """

    name: str
    ggship: str
    files: tuple[BundleFile, ...]
    rebuild: Rebuild | None = None

    def encode(self) -> bytes:
        """As it lies in the bundle: JSON with sorted keys, and the digest of itself, for copies that went wrong."""
        document = {"format": FORMAT, "schema": SCHEMA, **asdict(self)}
        return _written({**document, "check": hashlib.sha256(_written(document)).hexdigest()})

    @property
    def sha256(self) -> str:
        """What identifies the bundle, signed or not."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Of all files of the package, the one that is made again among them."""
        return sum(file.bytes for file in self.files) + (self.rebuild.bytes if self.rebuild else 0)


def _written(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode("utf-8")


def parse_manifest(data: bytes, where: str) -> Manifest:
    """The manifest in these bytes. Raises BadFile for anything but what `encode` writes."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.pop("format") != FORMAT:
            raise ValueError("it is no manifest of a bundle")
        schema = document.pop("schema")
        if schema != SCHEMA:
            raise BadFile(
                "the bundle was made by a newer ggship",
                where=f"{where}: schema {schema}, known here: {SCHEMA}",
                hint="pip install --upgrade ggship",
            )
        document.pop("check")
        files = tuple(BundleFile(**row) for row in document.pop("files"))
        row = document.pop("rebuild")
        if row is not None:
            row["tensors"] = {name: (kind, digest) for name, (kind, digest) in row["tensors"].items()}
        manifest = Manifest(files=files, rebuild=None if row is None else Rebuild(**row), **document)
        _check(manifest)
        if manifest.encode() != data:
            raise ValueError("it is not written as ggship writes it")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadFile("the bundle's manifest is not understood", where=f"{where}: {MANIFEST}: {error}") from None
    return manifest


def _check(manifest: Manifest) -> None:
    """Raise ValueError or TypeError for what no bundle of ggship says: names that lead elsewhere, sizes without end."""
    texts: list[Any] = [manifest.name, manifest.ggship]
    made = [(file.name, file.bytes, file.sha256) for file in manifest.files]
    rebuild = manifest.rebuild
    if rebuild is not None:
        made.append((rebuild.file, rebuild.bytes, rebuild.sha256))
        texts += [rebuild.base, rebuild.kernels, rebuild.quant or "", *rebuild.metadata.values()]
        for digest in (rebuild.base_sha256, *(found for _, found in rebuild.tensors.values())):
            _require(bool(_DIGEST.fullmatch(digest)), f"{digest!r} is no sha256")
        _require(rebuild.adapter in {file.name for file in manifest.files}, "the adapter to merge is not in it")
    _require(len(made) <= MOST_FILES, f"{len(made)} files")
    for name, count, digest in made:
        _require(bool(_NAME.fullmatch(name)), f"{name!r} is no name of a file in a package")
        _require(type(count) is int and 0 <= count <= MOST_BYTES, f"{name}: {count!r} bytes")
        _require(bool(_DIGEST.fullmatch(digest)), f"{name}: {digest!r} is no sha256")
    names = [name.casefold() for name, _, _ in made]
    _require(len(set(names)) == len(names), "two files have one name")
    folders = {name.rpartition("/")[0] for name in names}
    _require(not folders & set(names), "a file has the name of a folder")
    _require(DOCUMENT in {file.name for file in manifest.files}, f"{DOCUMENT} is not in it")
    _require(all(isinstance(text, str) for text in texts), "a text is none")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
