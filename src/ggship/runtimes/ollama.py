"""Ollama as a runtime: make a model there, check that it is what was asked for, ask it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ggship.errors import AdaptersRefused, BadFile, GgshipError, Refused, ServerError, UsageError
from ggship.runtimes.cliffs import accepts_adapters, keeps_files
from ggship.runtimes.endpoints import OllamaEndpoint
from ggship.runtimes.manifests import swap_name
from ggship.runtimes.model import ENABLE_THINKING, Created, ModelSpec, Progress, Witness
from ggship.runtimes.names import check_model_name
from ggship.runtimes.ollama_api import OllamaClient, events
from ggship.runtimes.shown import blob_digests, blob_paths, parameters, same_parameter
from ggship.transport import is_loopback


class OllamaRuntime:
    """An Ollama server, here or elsewhere.

    reads_files: whether this process may look at the server's blobs where they are on this machine; False treats every
    server as a remote one.
    """

    kind = "ollama"

    def __init__(self, client: OllamaClient, *, reads_files: bool = True) -> None:
        self.client = client
        self._reads_files = reads_files
        self._version: str | None = None
        self._adapters: bool | None = None

    @property
    def version(self) -> str:
        """The server's version, asked once."""
        if self._version is None:
            self._version = self.client.version()
        return self._version

    def describe(self) -> str:
        """In words: "Ollama 0.34.4 at http://127.0.0.1:11434"."""
        return f"Ollama {self.version} at {self.client.url}"

    def accepts_adapters(self) -> bool:
        """Whether this server makes models with adapters: its own answer, and where that tells nothing its version."""
        if self._adapters is None:
            answer = self.client.takes_adapters()
            by_version = accepts_adapters(self.version) if answer is None else answer
            # Neither tells: a merged model works everywhere.
            self._adapters = bool(by_version)
        return self._adapters

    def is_local(self) -> bool:
        """Whether the server's files are files of this machine: it is on loopback, and a blob of it can be read."""
        if not self._reads_files or not is_loopback(self.client.url):
            return False
        nothing_told = True
        for model in self.client.tags():
            readable = self._reads(str(model["name"]))
            if readable:
                return True
            nothing_told &= readable is None
        return nothing_told

    def _reads(self, name: str) -> bool | None:
        """Whether its blob can be read; None where it has none (a cloud model), or the server cannot show it."""
        try:
            paths = blob_paths(self.client.show(name), "FROM")
        except ServerError:
            return None
        return _readable(paths[0]) is not None if paths else None

    def blob_path(self, name: str) -> Path | None:
        """The GGUF file of a model that the server holds, where this process can read it."""
        if not self._reads_files or not is_loopback(self.client.url):
            return None
        paths = blob_paths(self.client.show(name), "FROM")
        return _readable(paths[0]) if paths else None

    def create(self, name: str, spec: ModelSpec, on_progress: Progress | None = None) -> Created:
        """Make the model under that name, or replace it, and hold what the server then tells against the spec.

        Raises UsageError for a name that Ollama does not take, AdaptersRefused where this server takes no adapter,
        ServerError where a base is missing (nothing is pulled), or where the model is not what was asked for.
        """
        check_model_name(name)
        _check_spec(spec)
        base = self._base(spec)
        if spec.adapter is not None and not self.accepts_adapters():
            raise AdaptersRefused(
                "this Ollama takes no adapters (since 0.34.1)",
                where=self.describe(),
                hint="--strategy merge puts the adapter into the base; that is what --strategy auto does here",
            )
        request: dict[str, Any] = {"model": name}
        sent: dict[str, str] = {}
        if spec.from_name is not None:
            # `from` wins over `files` without a word, so only one of them is ever sent.
            request["from"] = spec.from_name
        elif spec.model is not None:
            sent["FROM"] = self.client.upload(spec.model, on_progress)
            request["files"] = {"model.gguf": sent["FROM"]}
        if spec.adapter is not None:
            sent["ADAPTER"] = self.client.upload(spec.adapter, on_progress)
            request["adapters"] = {"adapter.gguf": sent["ADAPTER"]}
        for field in ("template", "system", "license"):
            if getattr(spec, field) is not None:
                request[field] = getattr(spec, field)
        if spec.parameters:
            request["parameters"] = {key: _plain(value) for key, value in spec.parameters.items()}
        self._create(request, spec, on_progress)
        return self._checked(name, spec, sent, base)

    def _create(self, request: dict[str, Any], spec: ModelSpec, on_progress: Progress | None) -> None:
        try:
            self.client.create(request, events(on_progress))
        except AdaptersRefused:
            self._adapters = False
            raise
        except ServerError as error:
            # Between the look at the base and create someone may have deleted it; then old servers pull, and fail.
            if spec.from_name is not None and "pull model manifest" in error.where:
                raise _missing(spec.from_name, self.client.url) from error
            raise

    def _base(self, spec: ModelSpec) -> Mapping[str, Any]:
        if spec.from_name is None:
            return {}
        try:
            base = self.client.show(spec.from_name)
        except ServerError as error:
            if error.status == 404:
                raise _missing(spec.from_name, self.client.url) from error
            raise
        if spec.adapter is not None and blob_digests(base, "ADAPTER"):
            raise Refused(
                f"{spec.from_name} carries an adapter already: both would work at once",
                where=self.client.url,
                hint="name the model that it was made from with --base ollama:NAME",
            )
        return base

    def _checked(self, name: str, spec: ModelSpec, sent: Mapping[str, str], base: Mapping[str, Any]) -> Created:
        shown = self.client.show(name)
        wrong: list[str] = []
        # The selected template may be the GGUF's own (it wins where it can do more); ours is then in the Modelfile, and
        # whether both make the same prompt is proven by rendering.
        if spec.template not in (None, "", shown.get("template")) and spec.template not in str(shown.get("modelfile")):
            wrong.append("its template is not the one that was sent")
        if spec.system is not None and spec.system != str(shown.get("system") or ""):
            wrong.append("its system prompt is not the one that was sent")
        theirs = parameters(shown)
        wrong += [
            f"its parameter {key} is {theirs.get(key)!r}, sent was {value!r}"
            for key, value in spec.parameters.items()
            if not same_parameter(_plain(value), theirs.get(key))
        ]
        models, adapters = blob_digests(shown, "FROM"), blob_digests(shown, "ADAPTER")
        if spec.adapter is not None and adapters != [sent["ADAPTER"].removeprefix("sha256:")]:
            wrong.append(f"its adapter layer is {', '.join(adapters) or 'not there'}, sent was {sent['ADAPTER']}")
        if spec.adapter is None and spec.from_name is None and adapters:
            wrong.append("it carries an adapter that nobody sent")
        expected = blob_digests(base, "FROM") if base else [sent["FROM"].removeprefix("sha256:")]
        if (base or keeps_files(self.version)) and models[:1] != expected[:1]:
            wrong.append(f"its model layer is {', '.join(models) or 'not there'}, expected was {', '.join(expected)}")
        digest = self.digest(name)
        if digest is None:
            wrong.append("the server does not list it")
        if wrong or digest is None:
            raise ServerError(
                f"{name} is not the model that was asked for",
                where="\n".join([self.describe(), *wrong]),
                hint="please report this: it is either a new version of Ollama or a bug in ggship",
            )
        return Created(name, digest, (*models, *adapters), _inherited(spec, shown, theirs))

    def digest(self, name: str) -> str | None:
        """The digest of the model of that name (of its manifest); None where there is none."""
        return self.client.digest(name)

    def copy(self, source: str, target: str) -> None:
        """Give the model a second name; the target is replaced at once.

        By a rename in the store where that is this process's to write; else by the server, whose own copy leaves the
        name without a manifest for some milliseconds (see manifests.py).
        """
        check_model_name(target)
        if not (self._reads_files and is_loopback(self.client.url) and swap_name(self.client, source, target)):
            self.client.copy(source, target)

    def delete(self, name: str) -> None:
        """Take the name away; no error where it is not there."""
        self.client.delete(name)

    def endpoint(self, name: str, *, think: bool = ENABLE_THINKING) -> Witness:
        """An endpoint to ask that model; a model that can think is told to or not to."""
        return OllamaEndpoint(self.client, name, think=think)

    def close(self) -> None:
        """Drop the connections."""
        self.client.close()


def _check_spec(spec: ModelSpec) -> None:
    """Ollama decides by general.type alone what a file is, and an adapter without it becomes a second model."""
    if (spec.model is None) == (spec.from_name is None):
        raise UsageError("a model is made of a file or of a model that the server holds: exactly one of the two")
    from ggship.gguf.reader import read_gguf

    for path, wanted in ((spec.model, ("model", None)), (spec.adapter, ("adapter",))):
        if path is None:
            continue
        kind = read_gguf(path).get("general.type")
        if kind not in wanted:
            raise BadFile(
                f"this GGUF file is {_a(str(kind or 'model'))}, not {_a(str(wanted[0]))}",
                where=str(path),
                hint="ggship convert RUN --out FILE makes an adapter; ggship merge makes a model",
            )


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"


def _inherited(spec: ModelSpec, shown: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
    """What came with the base: Ollama hands all of it on, and a request can replace it but not clear it."""
    if spec.from_name is None:
        return ()
    notes = [f"{key} = {value!r}" for key, value in sorted(theirs.items()) if key not in spec.parameters]
    if shown.get("system") and spec.system is None:
        notes.append("a system prompt")
    if shown.get("messages"):
        notes.append(f"{len(shown['messages'])} messages before every conversation")
    return tuple(f"{note} comes with {spec.from_name}" for note in notes)


def _readable(blob: str) -> Path | None:
    path = Path(blob)
    return path if path.is_file() and os.access(path, os.R_OK) else None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _missing(name: str, url: str) -> GgshipError:
    return ServerError(
        f"the server holds no model {name}",
        where=f"{url} (ggship does not let it be downloaded unasked)",
        hint=f"ollama pull {name}",
        status=404,
    )
