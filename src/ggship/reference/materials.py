"""The very run and the very base that a package was made of, found again by digest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ggship.bases.from_directory import weight_files
from ggship.bases.model import Base
from ggship.bases.refs import resolve_ref
from ggship.digests import DigestCache, digest_of
from ggship.errors import BaseNotFound, GgshipError, NotARun, Refused
from ggship.package import BASE, PackageInfo
from ggship.progress import Progress
from ggship.releases.names import Known, recall
from ggship.releases.opened import package_spec
from ggship.runner import run_subprocess
from ggship.runs import read_run
from ggship.runs.model import Run
from ggship.runtimes.holding import holding_for
from ggship.runtimes.model import ModelSpec
from ggship.stages.base_file import BaseFile


@dataclass(frozen=True, slots=True)
class Materials:
    """What is compared. weights: the base for Transformers, a directory or a GGUF file. served: what llama.cpp loads.

    Law: run and base are, by sha256, those that the package was made of.
    """

    run: Run
    base: Base
    weights: Path
    served: ModelSpec


def find_materials(
    info: PackageInfo,
    *,
    run: Path | None = None,
    base: str | None = None,
    host: str | None = None,
    allow_pickle: bool = False,
    progress: Progress,
) -> Materials:
    """The package's run and base, those that are named or those that this machine remembers.

    Raises NotARun or BaseNotFound where there are none, Refused where they are others than the package's.
    """
    known = recall(info.name)
    known = known if known and Path(known.path).resolve() == info.path.resolve() else None
    found_run = _run(info, run, known, allow_pickle)
    found_base, file = _base(info, base, host, known, progress)
    folder = found_base.config_dir
    weights = folder if folder is not None and weight_files(folder) else file
    spec = package_spec(info)
    return Materials(found_run, found_base, weights, replace(spec, model=spec.model or file, from_name=None))


def _run(info: PackageInfo, given: Path | None, known: Known | None, allow_pickle: bool) -> Run:
    if info.document["run"].get("shares"):
        raise Refused(
            "the package is a weighted sum of runs, and the reference computes one run as it is",
            where=f"{info.path}/ggship.json: run.shares",
            hint="ggship eval asks it beside each of its runs packaged alone",
        )
    path = given or (Path(known.run) if known and known.run else None)
    if path is None or (given is None and not path.exists()):
        raise NotARun(
            "the run that this package was made of is not known here",
            where=f"{path} is gone" if path else f"ggship.json names it {info.document['run'].get('name')}",
            hint="name it: --run RUN",
        )
    wanted = sorted(str(file["sha256"]) for file in info.document["run"].get("files", ()))
    digests, read = DigestCache(), read_run(path, allow_pickle=allow_pickle)
    for run in _readings(read, allow_pickle):
        if sorted(digests.sha256(file) for file in run.tensor_files) == wanted:
            config = info.document["run"].get("config_sha256")
            if config and digest_of(run.config) != config:
                raise Refused(
                    "adapter_config.json is not what it was when the package was made",
                    where=str(run.path),
                    hint=f"put it back, or make the package again: ggship package {run.root} --name {info.name}",
                )
            return run
    raise Refused(
        "this is another run than the package was made of: its weights have other digests",
        where=str(read.path),
        hint=f"name the right one with --run, or make the package again: ggship package {path} --name {info.name}",
    )


def _readings(run: Run, allow_pickle: bool) -> Iterator[Run]:
    """The run with the adapter that ggship takes by itself, then with each of its checkpoints."""
    yield run
    for checkpoint in run.checkpoints:
        if checkpoint.path != run.path:
            try:
                yield read_run(checkpoint.path, allow_pickle=allow_pickle)
            except GgshipError:  # damaged, or of another shape: then it is not the one
                continue


def _base(
    info: PackageInfo, given: str | None, host: str | None, known: Known | None, progress: Progress
) -> tuple[Base, Path]:
    """The base, and its weights in one GGUF file."""
    wanted, used = info.document["base"].get("sha256"), info.document["base"].get("used")
    if not wanted:
        raise Refused(
            "the package does not say which file its base was",
            where=f"{info.path}/ggship.json: base.sha256",
            hint=f"make it again: ggship package RUN --name {info.name}",
        )
    inside = info.file(BASE)
    ref = given or (str(inside) if inside else known.base if known else "")
    try:
        if not ref:
            raise BaseNotFound("the base that this package was made of is not known here", where=f"it was {used}")
        base = resolve_ref(ref, ollama=holding_for(ref, host))
    except BaseNotFound as error:
        if not given:
            error.hint = "name it: --base FILE.gguf, a Hugging Face directory, ollama:NAME or hf:REPO"
        raise
    digests = DigestCache()
    weights = BaseFile(base, digests, run_subprocess)
    file, parts = weights.file(progress), weights.parts()
    found = digests.sha256(file)
    joined = digest_of({"parts": [digests.sha256(part) for part in parts]}) if len(parts) > 1 else found
    if wanted not in (found, joined):
        raise Refused(
            "this is another base than the package was made of",
            where=f"{base.ref}: sha256 {found[:16]}..., the package's is {wanted[:16]}... ({used})",
            hint="name the right one with --base",
        )
    return base, file
