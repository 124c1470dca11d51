"""Reads back from a registry, over the OCI distribution API, what a push left there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ggship.errors import Damaged, ServerError, ServerUnreachable
from ggship.publish.target import Target
from ggship.transport import Reply, Transport

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
# Blobs up to this size (template, system, params, config) are fetched and hashed; of larger ones the size is compared.
FETCHED_BYTES = 1 << 20
_QUICK_SECONDS = 30.0
_CONFIG = "config"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Connect = Callable[[str], Transport]


@dataclass(frozen=True, slots=True)
class Layer:
    """One blob of a model. kind: model, adapter, template, system, params, ... or config. size in bytes."""

    kind: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the registry gave it: its own bytes, and the blobs that it lists, config last."""

    raw: bytes
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> str:
        """What the registry calls it: sha256 of its bytes."""
        return f"sha256:{hashlib.sha256(self.raw).hexdigest()}"

    @property
    def bytes(self) -> int:
        """The size of all its blobs."""
        return sum(layer.size for layer in self.layers)

    def is_model(self, digest: str) -> bool:
        """Whether it is, byte for byte, the manifest that an Ollama server holds under that digest.

        The server writes its own with a line end, and pushes it without (0.32.14 and 0.34.4, tried); one that it pulled
        has none.
        """
        wanted = digest.removeprefix("sha256:")
        return wanted in (hashlib.sha256(self.raw + b"\n").hexdigest(), hashlib.sha256(self.raw).hexdigest())


class Registry:
    """One repository of a registry."""

    def __init__(self, transport: Transport, target: Target) -> None:
        self.url = transport.base_url
        self._http = transport
        self._target = target
        self._base = f"/v2/{target.repository}"

    def manifest(self) -> Manifest | None:
        """The manifest under the target's tag; None where there is none.

        Raises Damaged where its bytes are not what the registry says they are, ServerError where it tells nothing.
        """
        path = f"{self._base}/manifests/{self._target.tag}"
        where = f"GET {self.url}{path}"
        reply = self._http.request("GET", path, headers={"Accept": MANIFEST_TYPE})
        if reply.status == 404:
            return None
        if not reply.ok:
            raise self._refused(reply, where)
        manifest = Manifest(reply.body, _layers(reply, where))
        said = reply.headers.get("docker-content-digest", "")
        if said.startswith("sha256:") and said != manifest.digest:
            raise Damaged(
                "the registry names another digest than its manifest has",
                where=f"{where}: it says {said}, its bytes are {manifest.digest}",
                hint="something between here and the registry changes answers; do not use this copy",
            )
        return manifest

    def check_blobs(self, manifest: Manifest) -> bool:
        """Look for every blob of the manifest. Whether Ollama could pull them from here.

        Ollama's pull takes the blob from where the answer's Location points, which a plain docker-registry leaves out
        (server/download.go; ollama/ollama#7244). Raises Damaged naming the layer that is missing or is another.
        """
        pullable = True
        for layer in manifest.layers:
            path = f"{self._base}/blobs/{layer.digest}"
            whole = layer.size <= FETCHED_BYTES
            reply = self._http.request("GET" if whole else "HEAD", path)
            if reply.status in (301, 302, 303, 307, 308):
                continue  # it lies in a storage behind the registry, which the registry vouches for
            if reply.status == 404:
                raise _damaged("the registry lists a layer that it does not hold", layer, self.url)
            if not reply.ok:
                raise self._refused(reply, f"{self.url}{path}")
            pullable = pullable and "location" in reply.headers
            told = str(len(reply.body)) if whole else reply.headers.get("content-length", "")
            if not told.isdecimal():
                raise _damaged("the registry does not tell the size of a layer", layer, self.url)
            length = int(told)
            if length != layer.size:
                raise _damaged(f"a layer in the registry has {length} bytes, not {layer.size}", layer, self.url)
            if whole and f"sha256:{hashlib.sha256(reply.body).hexdigest()}" != layer.digest:
                raise _damaged("a layer in the registry is not what its digest says", layer, self.url)
        return pullable

    def _refused(self, reply: Reply, where: str) -> ServerError:
        hint = (
            "it wants a login, which ggship has not; Ollama itself logs in with its own key"
            if reply.status in (401, 403)
            else ""
        )
        return ServerError(
            "the registry does not show what it holds",
            where=f"{where}: HTTP {reply.status}",
            hint=hint,
            status=reply.status,
        )


def find_scheme(target: Target, *, insecure: bool, connect: Connect = Transport) -> str:
    """Whether the registry is spoken to by http or https.

    http is taken where the user said so (in the address, or with `insecure` for a registry far away), and for a near
    one that answers to it. Raises ServerUnreachable where a near one answers to neither.
    """
    if target.scheme:
        return target.scheme
    if insecure:
        return "http"
    if not target.near:
        return "https"
    for scheme in ("http", "https"):
        transport = connect(f"{scheme}://{target.host}")
        try:
            if transport.request("GET", "/v2/", read_seconds=_QUICK_SECONDS).status in (200, 401):
                return scheme
        except ServerError:
            continue
        finally:
            transport.close()
    raise ServerUnreachable(
        f"no registry answers at {target.host}",
        where=f"GET http://{target.host}/v2/",
        hint="start one, for example: docker-registry serve config.yml",
    )


def _layers(reply: Reply, where: str) -> tuple[Layer, ...]:
    try:
        document = reply.json()
        rows = [*document["layers"], {**document["config"], "mediaType": _CONFIG}]
        return tuple(_layer(row) for row in rows)
    except (ServerError, KeyError, TypeError, ValueError) as error:
        raise Damaged(
            "what the registry gives is no manifest of a model",
            where=f"{where}: {reply.headers.get('content-type', 'no content type')}",
            hint="does the address lead to a registry?",
        ) from error


def _layer(row: Mapping[str, Any]) -> Layer:
    kind, digest = str(row["mediaType"]).rpartition(".")[2], str(row["digest"])
    if not _DIGEST.fullmatch(digest):  # it becomes a part of addresses
        raise ValueError("not a digest")
    return Layer(kind, digest, int(row["size"]))


def _damaged(message: str, layer: Layer, url: str) -> Damaged:
    return Damaged(
        message,
        where=f"{layer.kind} layer {layer.digest} at {url}",
        hint="publish again; if it stays so, the registry's disk is the place to look",
    )
