"""A registry and an Ollama server in memory, behind the HTTP seam: they behave as the real ones that were tried."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from ggship.runtimes.ollama_api import OllamaClient
from ggship.transport import Reply, Sent, Transport

TYPES = "application/vnd.ollama.image."
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class FakeRegistry:
    """The distribution API for reading; `blobs` and `manifests` are what it holds, faults are set by tests."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    said_digest: str = ""
    said_length: str | None = None
    status: int = 0
    location: bool = False
    scheme: str = "http"
    calls: list[str] = field(default_factory=list)

    def answer(self, sent: Sent) -> Reply:
        self.calls.append(f"{sent.method} {sent.url}")
        if not sent.url.startswith(f"{self.scheme}://"):
            return Reply(400, b"Client sent an HTTP request to an HTTPS server.\n")
        if self.status:
            return Reply(self.status, b"{}")
        if sent.path == "/v2/":
            return Reply(200, b"{}")
        _, _, rest = sent.path.partition("/v2/")
        repository, kind, name = rest.rsplit("/", 2)
        if kind == "manifests":
            assert sent.headers["accept"] == MANIFEST_TYPE
            raw = self.manifests.get(f"{repository}:{name}")
            if raw is None:
                return Reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            return Reply(200, raw, {"docker-content-digest": self.said_digest or digest_of(raw)})
        blob = self.blobs.get(name)
        if blob is None:
            return Reply(404)
        head = {"location": "http://blobs.test/x"} if self.location else {}
        if sent.method == "HEAD":
            length = str(len(blob)) if self.said_length is None else self.said_length
            return Reply(200, b"", {"content-length": length, **head})
        return Reply(200, blob, head)


@dataclass
class FakeOllama:
    """/api/tags, show, copy, delete and push of a server that holds models; push goes into `registry`."""

    registry: FakeRegistry
    models: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    pushes: list[dict[str, Any]] = field(default_factory=list)
    push_error: str = ""
    breaks_at: str = ""
    account: Reply = field(default_factory=lambda: Reply(503, b'{"error":"account unavailable"}'))
    before_manifest: Callable[[bytes], bytes] = field(default=lambda raw: raw)

    def add(self, name: str, **layers: bytes) -> str:
        """A model of these layers (model=..., adapter=..., template=...); the digest of its manifest comes back."""
        config = json.dumps({"model_format": "gguf", "of": name}).encode()
        rows = [
            {"mediaType": TYPES + kind, "digest": self._keep(data), "size": len(data)} for kind, data in layers.items()
        ]
        top = {"mediaType": CONFIG_TYPE, "digest": self._keep(config), "size": len(config)}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": top, "layers": rows}
        # The server's own manifest ends its line, the pushed one does not.
        self.models[name] = json.dumps(manifest).encode() + b"\n"
        return digest_of(self.models[name])

    def _keep(self, data: bytes) -> str:
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def answer(self, sent: Sent) -> Reply:
        body = json.loads(sent.body) if sent.body else {}
        name = body.get("model", "")
        if sent.path == "/api/tags":
            rows = [{"name": n, "digest": digest_of(m).removeprefix("sha256:")} for n, m in self.models.items()]
            return Reply(200, json.dumps({"models": rows}).encode())
        if sent.path == "/api/copy":
            target = body["destination"]
            self.models[target if ":" in target.rpartition("/")[2] else f"{target}:latest"] = self.models[
                body["source"]
            ]
            return Reply(200)
        if sent.path == "/api/delete":
            return Reply(200 if self.models.pop(name, None) else 404)
        if sent.path == "/api/show":
            layers = json.loads(self.models[name])["layers"]
            words = {"model": "FROM", "adapter": "ADAPTER"}
            found = [
                (words[kind], row["digest"])
                for row in layers
                if (kind := row["mediaType"].removeprefix(TYPES)) in words
            ]
            lines = [f"{word} /models/blobs/{digest.replace(':', '-')}" for word, digest in found]
            return Reply(200, json.dumps({"modelfile": "\n".join(lines) + "\nTEMPLATE x\n"}).encode())
        if sent.path == "/api/me":
            return self.account
        assert sent.path == "/api/push"
        return self._push(body)

    def _push(self, body: dict[str, Any]) -> Reply:
        self.pushes.append(body)
        lines: list[dict[str, Any]] = [{"status": "retrieving manifest"}]
        manifest = json.loads(self.models[body["model"]])
        for row in [*manifest["layers"], manifest["config"]]:
            if self.breaks_at and row["mediaType"].endswith(self.breaks_at):
                status = f"pushing {row['digest'][7:19]}"
                lines += [
                    {"status": status, "digest": row["digest"], "total": row["size"], "completed": 3},
                    {"error": "max retries exceeded: EOF"},
                ]
                return Reply(200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            self.registry.blobs[row["digest"]] = self.blobs[row["digest"]]
            status = f"pushing {row['digest'][7:19]}"
            lines += [{"status": status, "digest": row["digest"], "total": row["size"], "completed": row["size"]}]
        if self.push_error:
            lines.append({"error": self.push_error})
        else:
            raw = self.models[body["model"]].removesuffix(b"\n")
            self.registry.manifests[body["model"].partition("/")[2]] = self.before_manifest(raw)
            lines += [{"status": "pushing manifest"}, {"status": "success"}]
        return Reply(200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


@pytest.fixture
def world() -> SimpleNamespace:
    """registry, ollama (fakes), client (the real client of the fake), connect (to the registry), digest_of."""
    registry = FakeRegistry()
    ollama = FakeOllama(registry)
    client = OllamaClient(
        "http://ollama.test:11434", transport=Transport("http://ollama.test:11434", handler=ollama.answer)
    )

    def connect(url: str) -> Transport:
        return Transport(url, handler=registry.answer)

    return SimpleNamespace(registry=registry, ollama=ollama, client=client, connect=connect, digest_of=digest_of)
