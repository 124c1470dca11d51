"""Read a base that an Ollama server holds: its blob where the server is on this machine, else what it tells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.model import Base, BaseTensor
from ggship.errors import BaseNotFound, Refused, ServerError
from ggship.runtimes.shown import blob_paths, own_prompt


class OllamaLister(Protocol):
    """What a search needs of an Ollama server."""

    def tags(self) -> Sequence[str]:
        """Names of the models that it holds."""
        ...

    def show(self, name: str, *, verbose: bool = False) -> Mapping[str, Any]:
        """/api/show as it is. ServerError with status 404 where there is no such model."""
        ...

    def is_local(self) -> bool:
        """Whether its files are files of this machine."""
        ...


def base_from_ollama(
    lister: OllamaLister, name: str, *, found: str = "as you named it", tensors: bool = True, local: bool | None = None
) -> Base:
    """The base under that name; without `tensors`, its dimensions alone where it is not a file here.

    local: whether the server is on this machine, where the caller has asked already.

    gguf is the server's own blob where this process can read it. Otherwise tensors and metadata are what the server
    tells (/api/show; since 0.34 it tells the tensors only verbosely). Raises BaseNotFound where the server has
    no such model, Refused where it is one with an adapter, or no GGUF.
    """
    shown = _show(lister, name)
    if blob_paths(shown, "ADAPTER"):
        raise Refused(
            f"{name} carries an adapter already, so it is no base",
            where=f"ollama:{name}",
            hint="name the model that it was made from: --base ollama:NAME",
        )
    if shown.get("remote_model") or shown.get("remote_host"):
        raise Refused(f"{name} runs on another machine, and its weights are not here", where=f"ollama:{name}")
    metadata = {key: value for key, value in (shown.get("model_info") or {}).items() if value is not None}
    blob = _blob(shown)
    if blob is not None and (lister.is_local() if local is None else local):
        base = base_from_gguf(blob, ref=f"ollama:{name}", found=found)
        return replace(base, ollama_name=name, own_prompt=own_prompt(shown))
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise Refused(
            f"the server does not tell what {name} is",
            where=f"ollama:{name}",
            hint="pass the same model as a file: --base FILE.gguf",
        )
    template = shown.get("template")
    return Base(
        ref=f"ollama:{name}",
        architecture=architecture,
        found=found,
        ollama_name=name,
        tensors=_tensors(shown) or (_tensors(_show(lister, name, verbose=True)) if tensors else {}),
        metadata=metadata,
        # A Go template is no Jinja: only the model's own template, which newer servers show, can be taken.
        chat_template=template if isinstance(template, str) and "{%" in template else None,
        own_prompt=own_prompt(shown),
    )


def _show(lister: OllamaLister, name: str, *, verbose: bool = False) -> Mapping[str, Any]:
    try:
        return lister.show(name, verbose=verbose)
    except ServerError as error:
        if error.status == 404:
            raise BaseNotFound(
                f"the Ollama server holds no model {name}", where=f"ollama:{name}", hint=f"ollama pull {name}"
            ) from error
        raise


def _blob(shown: Mapping[str, Any]) -> Path | None:
    paths = blob_paths(shown, "FROM")
    path = Path(paths[0]) if paths else None
    return path if path is not None and path.is_file() and os.access(path, os.R_OK) else None


def _tensors(shown: Mapping[str, Any]) -> dict[str, BaseTensor]:
    """Shapes come in GGUF's own order, [in, out]; ours is numpy's."""
    found = {}
    for entry in shown.get("tensors") or ():
        name, kind, shape = entry.get("name"), entry.get("type"), entry.get("shape")
        if isinstance(name, str) and isinstance(kind, str) and isinstance(shape, list):
            found[name] = BaseTensor(name, tuple(int(size) for size in reversed(shape)), kind)
    return found
