"""A package into one file: all of it, or without the merged weights, which the other side makes again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.bundles.container import write_bundle
from ggship.bundles.manifest import HEADER, BundleFile, Manifest, Rebuild
from ggship.digests import CHUNK_BYTES
from ggship.errors import Damaged, GateFailed, NotExpressible, UsageError
from ggship.needs import THIS, Machine, Need, require_room
from ggship.package import ADAPTER, SUMS, PackageInfo
from ggship.progress import Progress, Reading, Silent

Sign = Callable[[bytes], bytes]
"""bundle.json -> bundle.sig."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written. bytes: its size; whole: that of the package. needs: the base of a thin one, or ""."""

    path: Path
    manifest: Manifest
    bytes: int
    whole: int
    needs: str = ""
    signed: bool = False
    warnings: tuple[str, ...] = ()


def export_package(
    info: PackageInfo,
    out: Path,
    *,
    thin: bool = False,
    force: bool = False,
    sign: Sign | None = None,
    progress: Progress | None = None,
    machine: Machine = THIS,
) -> Exported:
    """Write the package as one file. Every byte is held against SHA256SUMS on the way.

    thin: without the merged model. Law: the same package gives the same bytes, but for a signature, which is new each
    time. Raises GateFailed where the package did not pass (`force` sends it anyway), NotExpressible where it cannot be
    thin, Damaged where a file is not what was made, UsageError where `out` is no place for a file.
    """
    progress = progress or Silent()
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else f"lies in a folder that is not there: {out.parent}"
        raise UsageError("the bundle cannot be written there", where=f"{out} {what}", hint=f"-o {info.name}.ggship")
    warnings = _proof(info, force)
    files = _files(info)
    rebuild = _rebuild(info, files, progress) if thin else None
    if rebuild is not None:
        files = tuple(file for file in files if file.name != rebuild.file)
    manifest = Manifest(info.name, str(info.document["ggship"]), files, rebuild)
    total = sum(file.bytes for file in files)
    require_room([Need("the bundle", total + len(manifest.encode()), out.parent)], machine=machine)
    signature = sign(manifest.encode()) if sign else b""
    progress.start("Packing", total, "bytes")

    def contents(file: BundleFile) -> Iterator[bytes]:
        with (info.path / file.name).open("rb") as source:
            while data := source.read(CHUNK_BYTES):
                progress.advance(len(data))
                yield data

    write_bundle(out, manifest, signature, contents)
    progress.done(out.name)
    needs = f"{rebuild.base}, sha256 {rebuild.base_sha256}" if rebuild else ""
    if rebuild is not None and " and " in rebuild.kernels:
        warnings += (f"it was quantized with {rebuild.kernels}: a machine without that library may give other bytes",)
    return Exported(out, manifest, out.stat().st_size, manifest.bytes, needs, sign is not None, warnings)


def _proof(info: PackageInfo, force: bool) -> tuple[str, ...]:
    passed = info.document["eval"].get("passed")
    if passed is False and not force:
        raise GateFailed(
            f"{info.name} did not pass when it was made, so it goes nowhere",
            where=f"{info.path}/ggship.json: eval.passed",
            hint=f"ggship eval {info.name}   shows what failed; --force packs it anyway",
        )
    if passed is None:
        return (f"{info.name} was never asked anything: `ggship eval` on the other side is its first proof",)
    return () if passed else (f"{info.name} did not pass when it was made",)


def _files(info: PackageInfo) -> tuple[BundleFile, ...]:
    """Every file of the package, SHA256SUMS last; the digests are what that says, and are checked while packing."""
    path = info.path / SUMS
    try:
        text = path.read_bytes()
        rows = [line.split("  ", 1) for line in text.decode("utf-8").splitlines()]
        found = [BundleFile(name, (info.path / name).stat().st_size, digest) for digest, name in rows]
    except (OSError, ValueError) as error:
        raise Damaged(
            "the package is not whole", where=str(error), hint=f"ggship verify {info.name}   says what is wrong"
        ) from error
    return (*found, BundleFile(SUMS, len(text), hashlib.sha256(text).hexdigest()))


def _rebuild(info: PackageInfo, files: tuple[BundleFile, ...], progress: Progress) -> Rebuild:
    merge: dict[str, Any] | None = info.document.get("merge")
    if merge is None:
        raise NotExpressible(
            "this package is thin already: the adapter lies beside its base, and nothing was merged",
            where=f"{info.path}: strategy {info.document['strategy']}",
            hint="leave --thin out",
        )
    adapter = info.document.get("adapter")
    if not adapter:
        raise NotExpressible(
            "what was trained lies in no adapter file that another machine could merge",
            where="\n".join(info.document["plan"].get("merged", ())),
            hint="leave --thin out: the bundle then holds the merged model",
        )
    jinja = info.document["prompt"].get("jinja")
    entry = next(file for file in files if file.name == merge["file"])
    return Rebuild(
        file=entry.name,
        bytes=entry.bytes,
        sha256=entry.sha256,
        adapter=ADAPTER,
        base=str(info.document["base"]["used"]),
        base_sha256=str(merge["base_sha256"]),
        quant=merge.get("quant"),
        # What the merge stage writes into the model (stages/weights.py).
        metadata={"ggship.adapter": adapter["sha256"], **({"tokenizer.chat_template": jinja} if jinja else {})},
        kernels=str(merge.get("kernels", "")),
        tensors=tensor_digests(info.path / entry.name, entry.sha256, progress),
    )


def tensor_digests(model: Path, sha256: str, progress: Progress) -> dict[str, tuple[str, str]]:
    """Type and sha256 of every tensor of a GGUF file by its name, and of its header under HEADER.

    sha256: what the file as a whole must have; "" for whatever it has. Raises Damaged where it has another.
    """
    from ggship.gguf.reader import read_gguf

    read = read_gguf(model)
    pieces = [(HEADER, "", 0, read.data_offset)]
    pieces += [(tensor.name, tensor.type_name, tensor.offset, tensor.nbytes) for tensor in read.tensors]
    whole, found = hashlib.sha256(), {}
    reading = Reading(progress, "Reading the merged model", read.size)
    with model.open("rb") as file:
        for name, kind, start, count in sorted(pieces, key=lambda piece: piece[2]):
            whole.update(file.read(start - file.tell()))  # padding
            digest = hashlib.sha256()
            while count:
                data = file.read(min(count, CHUNK_BYTES))
                if not data:
                    raise Damaged("the merged model is cut off", where=f"{model}: within {name}")
                digest.update(data)
                whole.update(data)
                count -= len(data)
                reading(len(data))
            found[name] = (kind, digest.hexdigest())
        while data := file.read(CHUNK_BYTES):
            whole.update(data)
    reading.done()
    if sha256 and whole.hexdigest() != sha256:
        raise Damaged("the merged model was changed after the package was made", where=str(model))
    return found
