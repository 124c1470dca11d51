"""A package opened for asking: its live model, and its base under the very same prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ggship.digests import DigestCache
from ggship.errors import NoRuntime, ServerError, UnknownName
from ggship.modelfile import parse, to_parameters
from ggship.package import BASE, MODELFILE, PackageInfo
from ggship.progress import ByStatus, Progress, Reading, Silent
from ggship.releases.names import load_package, recall
from ggship.releases.promotion import base_name, temporary
from ggship.releases.turns import own_turn
from ggship.runtimes.endpoints import parse_endpoint
from ggship.runtimes.find import find_runtime
from ggship.runtimes.model import ENABLE_THINKING, Endpoint, ModelSpec, Runtime


@dataclass(frozen=True, slots=True)
class Opened:
    """Endpoints of a package. base is None where the base is not at hand; base_missing then says why.

    warnings: what a user should know of the model that is asked, each in a sentence.
    """

    tuned: Endpoint
    base: Endpoint | None
    base_missing: str
    runtime: Runtime
    warnings: tuple[str, ...] = ()


@contextmanager
def open_package(
    info: PackageInfo,
    *,
    host: str | None = None,
    with_base: bool = True,
    progress: Progress | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[Opened]:
    """Ask a package where it is live; with `with_base` its base stands under a temporary name meanwhile.

    host: another server than the one it was made live on. While the base stands there, no other ggship works on the
    same model name; one that does is waited for. Raises ServerError where the live model is not there.
    """
    kind = info.runtime if info.runtime != "none" else "auto"
    runtime = find_runtime(kind, host or info.host)
    with ExitStack() as stack:
        stack.callback(runtime.close)
        if with_base:
            stack.enter_context(own_turn(runtime, info.name, on_wait=on_wait))
        if runtime.kind == "embedded":
            live: str | None = runtime.create(info.live_name, package_spec(info)).digest
        else:
            live = runtime.digest(info.live_name)
        if info.document["model"].get("candidate") and live != info.digest:
            raise ServerError(
                f"{info.path.name} was only compared with others: it is not live",
                where=runtime.describe(),
                hint=f"make it live: ggship package RUN/CHECKPOINT --name {info.name}",
            )
        if live is None:
            raise ServerError(
                f"{info.live_name} is not on this server",
                where=runtime.describe(),
                hint=f"make it live again: ggship package RUN --name {info.name}",
            )
        base, missing = None, ""
        if with_base:
            stack.enter_context(temporary(runtime, base_name(info.name)))
            base, missing = _stand(info, runtime, progress or Silent())
        yield Opened(
            runtime.endpoint(info.live_name, think=asks_to_think(info)),
            base,
            missing,
            runtime,
            _unproven(info, runtime, live),
        )


@contextmanager
def open_other(
    name: str,
    *,
    host: str | None = None,
    fallback: str | None = None,
    beside: Endpoint | None = None,
    base: str | None = None,
    allow_pickle: bool = False,
    progress: Progress | None = None,
) -> Iterator[Endpoint]:
    """Another model to compare with: URL#MODEL, hf:RUN, a package by name or path, else one that the Ollama holds.

    host: the server that the user named; without it a package is asked where it is live, and a plain model name on the
    server `fallback`. beside: the model that it is compared with, whose server may be the only one to be sent the key
    (see parse_endpoint). base, allow_pickle: for hf:RUN. Raises UnknownName where the name means nothing.
    """
    if name.startswith("hf:"):
        from ggship.reference.unpackaged import open_run

        where = host or fallback
        with open_run(name, base=base, host=where, allow_pickle=allow_pickle, beside=beside, progress=progress) as run:
            yield run.tuned
        return
    if "#" in name:
        yield parse_endpoint(name, beside=beside)
        return
    try:
        info = load_package(name)
    except UnknownName as unknown:
        with _held_by_server(name, host or fallback, unknown) as endpoint:
            yield endpoint
        return
    with open_package(info, host=host, with_base=False) as opened:
        yield opened.tuned


@contextmanager
def _held_by_server(name: str, host: str | None, unknown: UnknownName) -> Iterator[Endpoint]:
    try:
        runtime = find_runtime("ollama", host)
    except NoRuntime:
        raise unknown from None
    try:
        if runtime.digest(name) is None:
            raise UnknownName(
                f"nothing is named {name}: no package, and no model of {runtime.describe()}",
                where=unknown.where,
                hint="see `ollama list`, or name a model elsewhere: --against URL#MODEL",
            )
        yield runtime.endpoint(name)
    finally:
        runtime.close()


def package_spec(info: PackageInfo) -> ModelSpec:
    """What the packaged model is made of, read from its Modelfile, and from its document what that cannot say."""
    modelfile = parse((info.path / MODELFILE).read_text("utf-8"))
    prompt = info.document["prompt"]
    stops = prompt["stops"] if prompt.get("not_in_modelfile") else modelfile.stops
    parameters = (*(("stop", stop) for stop in stops), *(pair for pair in modelfile.parameters if pair[0] != "stop"))
    local = modelfile.from_.startswith("./")
    return ModelSpec(
        model=info.path / modelfile.from_ if local else None,
        from_name=None if local else modelfile.from_,
        adapter=info.path / modelfile.adapter if modelfile.adapter else None,
        template=modelfile.template,
        system=prompt["system"] if prompt.get("not_in_modelfile") else modelfile.system,
        parameters=to_parameters(parameters),
        jinja=prompt.get("jinja"),
    )


def _stand(info: PackageInfo, runtime: Runtime, progress: Progress) -> tuple[Endpoint | None, str]:
    """The base alone with the tuned model's prompt, made under its temporary name; None and why where it cannot be.

    Law: it is the very base of the package, by sha256; a model that merely has its name says nothing of the training.
    """
    wanted = info.document["base"].get("sha256")
    used = info.document["base"]["used"]
    if not wanted:
        return None, f"the package does not say which {used} its base was, so there is nothing to compare with"
    spec, another = _base_by_name(info, runtime), False
    if spec is None:
        for file in _base_files(info):
            if _sha256(file, progress) == wanted:
                spec = replace(package_spec(info), model=file, from_name=None, adapter=None)
                break
            another = True
    if spec is not None:
        name = base_name(info.name)
        bringing = ByStatus(progress, "Bringing the base beside it")
        created = runtime.create(name, spec, bringing)
        bringing.done()
        if spec.from_name is None or created.layers[:1] == (wanted,):
            return runtime.endpoint(name, think=asks_to_think(info)), ""
        another = True
    why = "what is there under its name is another model" if another else "it is not at hand"
    return None, f"the base ({used}) cannot be asked: {why}, so there is nothing to compare with"


def asks_to_think(info: PackageInfo) -> bool:
    """What the model is told where it can think, as when it was proven."""
    thinking = info.document["prompt"].get("thinking")
    return bool(thinking["think"]) if thinking else ENABLE_THINKING


def _base_by_name(info: PackageInfo, runtime: Runtime) -> ModelSpec | None:
    held = info.document["base"].get("ollama")
    if not held or runtime.kind != "ollama" or not runtime.digest(str(held)):
        return None
    return replace(package_spec(info), model=None, from_name=str(held), adapter=None)


def _base_files(info: PackageInfo) -> Iterator[Path]:
    """Files that may be the base: the one in the package, and where it lay when this very package was made."""
    inside = info.file(BASE)
    if inside:
        yield inside
    known = recall(info.name)
    if known and Path(known.path).resolve() == info.path.resolve() and Path(known.base).is_file():
        yield Path(known.base)


def _sha256(file: Path, progress: Progress) -> str:
    reading = Reading(progress, "Reading the base", file.stat().st_size)
    digest = DigestCache().sha256(file, reading)
    reading.done()
    return digest


def _unproven(info: PackageInfo, runtime: Runtime, live: str) -> tuple[str, ...]:
    if info.digest is None or live == info.digest:
        return ()
    return (
        f"{info.live_name} on {runtime.describe()} is not the model that was proven "
        f"({live[:12]}, proven was {info.digest[:12]})",
    )
