"""A bundle into a package of this machine, and live on its Ollama: nothing changes there until all of it holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ggship.bundles.container import Bundle, open_bundle, read_file, unpack
from ggship.bundles.locate import find_by_digest
from ggship.bundles.proving import prove_live
from ggship.digests import write_text
from ggship.errors import BadFile, BaseNotFound, GateFailed, GgshipError
from ggship.needs import THIS, Machine, Need, require_room
from ggship.package import SUMS, PackageInfo, read_package, write_sums
from ggship.place import DOCUMENT, Place, holding, name_for, package_place
from ggship.progress import ByStatus, Progress, Silent
from ggship.releases import Known, need_memory, remember
from ggship.releases.history import refuse_version_name
from ggship.releases.opened import package_spec
from ggship.releases.promotion import check_public_name, staging_name, temporary
from ggship.releases.proofs import proof_of
from ggship.releases.releasing import release
from ggship.releases.turns import own_turn
from ggship.runtimes.holding import holding_of
from ggship.runtimes.model import ModelSpec, Runtime
from ggship.runtimes.shown import blob_digests
from ggship.verify import verify_package

Verify = Callable[[Bundle], str]
"""Holds bundle.sig against a key; words of what was verified. Raises Damaged or Refused."""

_MOST_DOCUMENT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class BringOptions:
    """What the user asked for. name: the public name here, the package's own by default. base: of a thin bundle."""

    bundle: Path
    name: str | None = None
    out: Path | None = None
    base: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """A package that was brought. rebuilt: what quantized the model that was made again here, "" where it came whole.

    changed: False where all of it was here already. previous: the name that the model before it keeps, or "".
    """

    info: PackageInfo
    changed: bool
    rebuilt: str = ""
    previous: str = ""
    signature: str = ""
    prompt: str = ""
    warnings: tuple[str, ...] = ()


def bring(
    options: BringOptions,
    *,
    runtime: Runtime | None,
    verify: Verify | None = None,
    progress: Progress | None = None,
    on_wait: Callable[[str], None] | None = None,
    machine: Machine = THIS,
) -> Brought:
    """Unpack, rebuild where the bundle is thin, prove, create under a staging name, and only then promote.

    runtime: where the model goes live; None only writes the package. Raises BadFile and Damaged where the bundle is not
    what was packed, BaseNotFound and Refused where a thin one cannot be made again here, PromptMismatch where the
    server renders another prompt, and what `Runtime.create` raises; then name and package are as they were.
    """
    progress = progress or Silent()
    bundle = open_bundle(options.bundle)
    signature = verify(bundle) if verify else ""
    document = _document(bundle)
    name = options.name or str(document["name"])
    check_public_name(name)
    refuse_version_name(name)
    warnings = _proof(document, options, bool(bundle.signature) and verify is None)
    need_memory()
    place = package_place(options.out or Path("dist") / name_for(name), name)
    with ExitStack() as stack:
        stack.enter_context(holding(place, on_wait=on_wait))
        stack.enter_context(own_turn(runtime, name, on_wait=on_wait))
        there = _already(place, bundle, runtime)
        if there is not None:
            return Brought(there, False, signature=signature, warnings=warnings)
        place.prepare()
        shutil.rmtree(place.work)  # what an earlier attempt left
        stack.callback(shutil.rmtree, place.work, ignore_errors=True)
        place.work.mkdir()
        base, rebuilt = _make(bundle, options, runtime, place, progress, machine)
        verify_package(read_package(place.work))
        brought = Brought(read_package(place.work), True, rebuilt, signature=signature, warnings=warnings)
        if runtime is not None:
            brought = _live(brought, name, runtime, stack, progress, options.force)
        model = brought.info.document["model"] if runtime is not None else {"runtime": "none"}
        _rewrite(
            place.work, bundle, name, {"server": None, "host": None, "digest": None, "notes": [], **model}, brought
        )
        if runtime is not None and runtime.kind != "embedded":
            progress.start("Making it live")
            proof = proof_of(document["eval"], str(place.final.resolve()))
            released = release(runtime, staging_name(name), name, str(model["digest"]), proof)
            brought = replace(brought, previous=released.promotion.previous)
            progress.done(f"{released.promotion.name}, v{released.version}")
        place.settle(place.final)
    remember(Known(name, str(place.final.resolve()), str(base.resolve()) if base else ""))
    return replace(brought, info=read_package(place.final))


def _document(bundle: Bundle) -> dict[str, Any]:
    data = read_file(bundle, DOCUMENT, _MOST_DOCUMENT_BYTES)
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document["name"] != bundle.manifest.name:
            raise ValueError("it is of another package")
        if not all(isinstance(document[key], dict) for key in ("eval", "base", "prompt", "model")):
            raise ValueError("sections are missing")
    except (ValueError, KeyError) as error:
        raise BadFile("the bundle's package is not understood", where=f"{DOCUMENT}: {error}") from error
    return document


def _proof(document: dict[str, Any], options: BringOptions, unchecked: bool) -> tuple[str, ...]:
    passed, warnings = document["eval"].get("passed"), []
    if passed is False and not options.force:
        raise GateFailed(
            f"{document['name']} did not pass when it was made",
            where="; ".join(map(str, document["eval"].get("failures", ()))) or f"{options.bundle}: {DOCUMENT}",
            hint="--force brings it anyway",
        )
    if passed is not True:
        warnings.append("it did not pass when it was made" if passed is False else "it was never asked anything yet")
    if unchecked:
        warnings.append("the bundle is signed, and nobody looked at the signature: --verify-key KEY.pub")
    return tuple(warnings)


def _already(place: Place, bundle: Bundle, runtime: Runtime | None) -> PackageInfo | None:
    """The package, where it is here and live as this bundle made it."""
    try:
        info = read_package(place.final)
        verify_package(info)
    except GgshipError:
        return None
    if info.document.get("imported", {}).get("bundle") != bundle.manifest.sha256:
        return None
    if runtime is None or runtime.kind == "embedded":
        return info
    url = getattr(getattr(runtime, "client", None), "url", None)
    return info if info.digest and info.host == url and runtime.digest(info.live_name) == info.digest else None


def _make(
    bundle: Bundle, options: BringOptions, runtime: Runtime | None, place: Place, progress: Progress, machine: Machine
) -> tuple[Path | None, str]:
    """All files of the package in the work folder: (the base it was rebuilt from, what quantized it)."""
    rebuild, base = bundle.manifest.rebuild, None
    if rebuild is not None:
        from ggship.runtimes.holding import holding_for

        held = holding_of(runtime) or holding_for(options.base)
        base = find_by_digest(rebuild.base_sha256, rebuild.base, ref=options.base, ollama=held, progress=progress)
    require_room([Need("the package", bundle.manifest.bytes, place.final.parent)], machine=machine)
    progress.start("Unpacking", sum(file.bytes for file in bundle.manifest.files), "bytes")
    unpack(bundle, place.work, progress.advance)
    progress.done(f"{len(bundle.manifest.files)} files, each with the digest it was packed with")
    if rebuild is None or base is None:
        return None, ""
    from ggship.bundles.rebuild import rebuild_model

    return base, rebuild_model(rebuild, base, place.work / rebuild.adapter, place.work / rebuild.file, progress)


def _live(brought: Brought, name: str, runtime: Runtime, stack: ExitStack, progress: Progress, force: bool) -> Brought:
    """The model under its staging name, proven; its facts in the document's section `model`."""
    stack.enter_context(temporary(runtime, staging_name(name)))
    steps = ByStatus(progress, "Creating the model")
    created = runtime.create(staging_name(name), _spec(brought.info, runtime), steps)
    steps.done(runtime.describe())
    prompt = prove_live(brought.info, runtime, created.name, progress, force=force)
    client = getattr(runtime, "client", None)
    model = {
        "runtime": runtime.kind,
        "server": runtime.describe(),
        "host": str(client.url) if client else None,
        "name": name,
        "digest": created.digest,
        "notes": list(created.notes),
    }
    info = replace(brought.info, document={**brought.info.document, "model": model})
    return replace(brought, info=info, prompt=prompt)


def _spec(info: PackageInfo, runtime: Runtime) -> ModelSpec:
    """What the model is made of here: where that is a model of the server, the one with the base's very weights.

    Raises BaseNotFound where the server holds them under no name: another model of the same name is no base.
    """
    spec, wanted = package_spec(info), info.document["base"].get("sha256")
    held = holding_of(runtime)
    if spec.from_name is None or wanted is None or held is None:
        return spec
    found = [name for name in held.tags() if blob_digests(held.show(name), "FROM")[:1] == [wanted]]
    same = [name for name in found if name.removesuffix(":latest") == spec.from_name.removesuffix(":latest")]
    if not found:
        raise BaseNotFound(
            f"the base that the adapter stands on is not on this server: {spec.from_name}",
            where=f"{runtime.describe()}: no model with the weights sha256 {wanted}",
            hint=f"ollama pull {spec.from_name}   (if that is still the same model), or copy it from the other server",
        )
    return replace(spec, from_name=(same or found)[0])


def _rewrite(work: Path, bundle: Bundle, name: str, model: dict[str, Any], brought: Brought) -> None:
    """ggship.json as it is true here, and the checksums: all else is as it was packed."""
    document = json.loads((work / DOCUMENT).read_text("utf-8"))
    document["imported"] = {
        "bundle": bundle.manifest.sha256,
        "name": document["name"],
        "digest": document["model"].get("digest"),
        "server": document["model"].get("server"),
        "rebuilt": brought.rebuilt or None,
        "signature": brought.signature or None,
    }
    document["name"] = name
    document["model"] = {**model, "name": name if model.get("digest") else None}
    write_text(work / DOCUMENT, json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    write_text(work / SUMS, write_sums(work))
