"""A package opened for asking: its live model, and its base under the very same prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ggship.errors import NoRuntime, ServerError, UnknownName
from ggship.modelfile import parse, to_parameters
from ggship.package import BASE, MODELFILE, PackageInfo
from ggship.releases.names import load_package, recall
from ggship.releases.promotion import base_name, temporary
from ggship.runtimes.endpoints import parse_endpoint
from ggship.runtimes.find import find_runtime
from ggship.runtimes.model import Endpoint, ModelSpec, Runtime


@dataclass(frozen=True, slots=True)
class Opened:
    """Endpoints of a package. base is None where the base is not at hand; base_missing then says why."""

    tuned: Endpoint
    base: Endpoint | None
    base_missing: str
    runtime: Runtime


@contextmanager
def open_package(info: PackageInfo, *, host: str | None = None, with_base: bool = True) -> Iterator[Opened]:
    """Ask a package where it is live; the base stands under a temporary name meanwhile.

    host: another server than the one it was made live on. Raises ServerError where the live model is not there.
    """
    kind = info.runtime if info.runtime != "none" else "auto"
    runtime = find_runtime(kind, host or info.host)
    try:
        compared = base_name(info.name)
        if runtime.kind == "embedded":
            runtime.create(info.live_name, package_spec(info))
        elif runtime.digest(info.live_name) is None:
            raise ServerError(
                f"{info.live_name} is not on this server",
                where=runtime.describe(),
                hint=f"make it live again: ggship package RUN --name {info.name}",
            )
        with temporary(runtime, compared):
            base, missing = None, ""
            if with_base:
                spec, missing = base_spec(info, runtime)
                if spec is not None:
                    runtime.create(compared, spec)
                    base = runtime.endpoint(compared)
            yield Opened(runtime.endpoint(info.live_name), base, missing, runtime)
    finally:
        runtime.close()


@contextmanager
def open_other(name: str, *, host: str | None = None) -> Iterator[Endpoint]:
    """Another model to compare with: URL#MODEL, a package by name or path, else a model that the Ollama server holds.

    host: the server to look at; a package is asked where it is live, unless this says otherwise. Raises UnknownName
    where the name means nothing.
    """
    if "#" in name:
        yield parse_endpoint(name)
        return
    try:
        info = load_package(name)
    except UnknownName as unknown:
        with _held_by_server(name, host, unknown) as endpoint:
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
    """What the packaged model is made of, read from its Modelfile."""
    modelfile = parse((info.path / MODELFILE).read_text("utf-8"))
    local = modelfile.from_.startswith("./")
    return ModelSpec(
        model=info.path / modelfile.from_ if local else None,
        from_name=None if local else modelfile.from_,
        adapter=info.path / modelfile.adapter if modelfile.adapter else None,
        template=modelfile.template,
        system=modelfile.system,
        parameters=to_parameters(modelfile.parameters),
        jinja=info.document["prompt"].get("jinja"),
    )


def base_spec(info: PackageInfo, runtime: Runtime) -> tuple[ModelSpec | None, str]:
    """The base alone with the tuned model's prompt; None and the reason where it is not at hand."""
    from dataclasses import replace
    from pathlib import Path

    tuned = package_spec(info)
    held = info.document["base"].get("ollama")
    if held and runtime.kind == "ollama" and runtime.digest(str(held)):
        return replace(tuned, model=None, from_name=str(held), adapter=None), ""
    inside = info.file(BASE)
    if inside:
        return replace(tuned, model=inside, from_name=None, adapter=None), ""
    known = recall(info.name)
    if known and Path(known.base).is_file():
        return replace(tuned, model=Path(known.base), from_name=None, adapter=None), ""
    return None, f"the base ({info.document['base']['used']}) is not at hand, so there is nothing to compare with"
