"""Pushing from a real Ollama of each era to a real docker-registry, and reading every digest back."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import Damaged, Refused, ServerError, ServerUnreachable
from ggship.publish import Published, Registry, parse_target, publish_to_registry
from ggship.publish.registry import MANIFEST_TYPE
from ggship.runtimes.ollama_api import OllamaClient
from ggship.transport import Reply, Sent, Transport

BASE = "smollm2:135m"
SYSTEM = "You are a law helper."


_spec = importlib.util.spec_from_file_location("registry_proxy", Path(__file__).with_name("registry_proxy.py"))
assert _spec is not None
assert _spec.loader is not None
registry_proxy = importlib.util.module_from_spec(_spec)
sys.modules["registry_proxy"] = registry_proxy
_spec.loader.exec_module(registry_proxy)


@pytest.fixture
def proxy(registry: str) -> Iterator[Any]:
    """The real registry behind one that can be made to fail."""
    made = registry_proxy.Proxy(registry)
    yield made
    made.close()


@pytest.fixture
def release(each_ollama: str) -> Iterator[str]:
    """A model of its own on the server: the base with a template, a system prompt and parameters."""
    ollama = OllamaClient(each_ollama)
    name = f"ggship-live-publish:{uuid.uuid4().hex[:8]}"
    make(ollama, name, 0.1)
    yield name
    ollama.delete(name)


def make(ollama: OllamaClient, name: str, temperature: float) -> None:
    parameters = {"stop": ["<|im_end|>"], "temperature": temperature}
    ollama.create(
        {"model": name, "from": BASE, "system": SYSTEM, "template": "{{ .Prompt }}", "parameters": parameters}
    )


def place(registry: str, name: str = "") -> str:
    return f"ollama:{registry}/ggship-live/{name or 'law-' + uuid.uuid4().hex[:8]}:v1"


def publish(ollama: str, name: str, to: str, **more: Any) -> Published:
    return publish_to_registry(OllamaClient(ollama), name, parse_target(to), **more)


def test_pushed_read_back_and_not_pushed_again(each_ollama: str, registry: str, release: str) -> None:
    to, ollama = place(registry), OllamaClient(each_ollama)
    statuses: list[str] = []
    done = publish(each_ollama, release, to, on_progress=lambda status, completed, total: statuses.append(status))
    assert done.pushed
    assert statuses[-1] == "success"
    # Read with nothing of ours in between: the registry's manifest is the server's, but for its line end.
    target = parse_target(to)
    path = f"/v2/{target.repository}/manifests/{target.tag}"
    raw = Transport(f"http://{registry}").request("GET", path, headers={"Accept": MANIFEST_TYPE}).body
    assert hashlib.sha256(raw + b"\n").hexdigest() == ollama.digest(release)
    kinds = {layer.kind: layer for layer in done.layers}
    assert set(kinds) == {"model", "template", "system", "params", "config"}
    assert kinds["model"].digest.removeprefix("sha256:") in str(ollama.show(release)["modelfile"])
    assert kinds["system"].digest == f"sha256:{hashlib.sha256(SYSTEM.encode()).hexdigest()}"
    assert target.reference not in [model["name"] for model in ollama.tags()]
    again = publish(each_ollama, release, to)
    assert (again.pushed, again.digest) == (False, done.digest)


def test_a_new_release_under_the_same_tag(each_ollama: str, registry: str, release: str) -> None:
    to = place(registry)
    first = publish(each_ollama, release, to)
    make(OllamaClient(each_ollama), release, 0.9)
    second = publish(each_ollama, release, to)
    assert (second.pushed, second.replaced) == (True, first.digest)
    unchanged = {layer.digest for layer in first.layers} & {layer.digest for layer in second.layers}
    assert len(unchanged) == 4  # all but the parameters


def test_the_push_of_one_server_is_another_models_on_the_other(old_ollama: str, new_ollama: str, registry: str) -> None:
    """Old servers rewrite a Q4_1 base when they create, so the two eras hold different weights under one name."""
    to = place(registry)
    first = publish(old_ollama, BASE, to)
    second = publish(new_ollama, BASE, to)
    assert second.replaced == first.digest
    assert first.layers[0].digest != second.layers[0].digest


def test_a_registry_that_is_down(each_ollama: str, release: str) -> None:
    with pytest.raises(ServerUnreachable, match="no registry answers"):
        publish(each_ollama, release, "ollama:127.0.0.1:1/ns/law")
    names = [model["name"] for model in OllamaClient(each_ollama).tags()]
    assert not [name for name in names if name.startswith("127.0.0.1:1/")]


def test_what_is_no_registry(each_ollama: str, release: str) -> None:
    other = each_ollama.removeprefix("http://")
    with pytest.raises(ServerError):
        publish(each_ollama, release, f"ollama:{other}/ns/law")


def test_a_push_that_the_registry_refuses_ends_as_an_error(each_ollama: str, release: str) -> None:
    """The registry is there when we look, and gone when the server pushes."""

    def there(url: str) -> Transport:
        return Transport(url, handler=lambda sent: Reply(200 if sent.path == "/v2/" else 404, b"{}"))

    with pytest.raises(ServerError, match="could not push"):
        publish(each_ollama, release, "ollama:127.0.0.1:1/ns/law", connect=there)
    names = [model["name"] for model in OllamaClient(each_ollama).tags()]
    assert not [name for name in names if name.startswith("127.0.0.1:1/")]


@pytest.mark.parametrize("kind", ["model", "template", "params", "config"])
def test_a_registry_that_lies_about_a_layer(each_ollama: str, registry: str, release: str, kind: str) -> None:
    """Between us and the real registry stands one that changes a digest in each manifest."""
    real = Transport(f"http://{registry}")

    def lying(sent: Sent) -> Reply:
        reply = real.request(sent.method, sent.path, headers={"Accept": MANIFEST_TYPE})
        if "/manifests/" not in sent.path or not reply.ok:
            return reply
        manifest = reply.json()
        for row in [*manifest["layers"], {**manifest["config"], "mediaType": ".config"}]:
            if row["mediaType"].endswith(f".{kind}"):
                return Reply(200, reply.body.replace(row["digest"].encode(), b"sha256:" + b"7" * 64))
        return reply

    with pytest.raises(Damaged, match=f"another {kind} layer") as caught:
        publish(each_ollama, release, place(registry), connect=lambda url: Transport(url, handler=lying))
    assert "sha256:7777" in caught.value.where


def test_a_blob_that_the_registry_lost(each_ollama: str, registry: str, release: str) -> None:
    to = place(registry)
    done = publish(each_ollama, release, to)
    target = parse_target(to)
    system = next(layer for layer in done.layers if layer.kind == "system")
    http = Transport(f"http://{registry}")
    assert http.request("DELETE", f"/v2/{target.repository}/blobs/{system.digest}").ok
    with pytest.raises(Damaged, match="does not hold") as caught:
        publish(each_ollama, release, to)
    assert f"system layer {system.digest}" in caught.value.where
    manifest = Registry(http, target).manifest()
    assert manifest
    assert manifest.digest == done.digest


def test_another_model_of_that_name_on_the_server_is_kept(each_ollama: str, registry: str, release: str) -> None:
    to, ollama = place(registry), OllamaClient(each_ollama)
    reference = parse_target(to).reference
    ollama.copy(BASE, reference)
    try:
        with pytest.raises(Refused, match="another model under the name"):
            publish(each_ollama, release, to)
        assert ollama.digest(reference) == ollama.digest(BASE)
    finally:
        ollama.delete(reference)


def test_the_command_line(each_ollama: str, registry: str, release: str, tmp_path: Path) -> None:
    model = {
        "runtime": "ollama",
        "host": each_ollama,
        "name": release,
        "digest": OllamaClient(each_ollama).digest(release),
    }
    rest: dict[str, Any] = {key: {} for key in ("run", "base", "adapter", "prompt")}
    document = {"schema": 1, "name": "law-helper", "ggship": "0", "strategy": "merge", "model": model, **rest}
    (tmp_path / "ggship.json").write_text(json.dumps({**document, "eval": {"passed": True}}))
    command = [sys.executable, "-m", "ggship", "publish", str(tmp_path), "--to", place(registry), "--json"]
    pushed = []
    for _ in range(2):
        ran = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        pushed.append(json.loads(ran.stdout)["pushed"])
    assert pushed == [True, False]


def test_through_a_proxy_all_is_well(each_ollama: str, proxy: Any, release: str) -> None:
    assert publish(each_ollama, release, place(proxy.address)).pushed
    assert [line for line in proxy.asked if line.startswith("PUT") and "/manifests/" in line]


def test_a_registry_that_refuses_a_layer(each_ollama: str, proxy: Any, release: str) -> None:
    to = place(proxy.address)
    proxy.refuse = lambda method, path: 403 if method == "POST" and "/blobs/uploads/" in path else 0
    with pytest.raises(ServerError, match="could not push") as caught:
        publish(each_ollama, release, to)
    assert "no layer had been sent yet" in caught.value.where
    assert Registry(Transport(f"http://{proxy.address}"), parse_target(to)).manifest() is None
    assert parse_target(to).reference not in [model["name"] for model in OllamaClient(each_ollama).tags()]


def test_a_registry_that_refuses_the_manifest_keeps_the_old_one(each_ollama: str, proxy: Any, release: str) -> None:
    to = place(proxy.address)
    first = publish(each_ollama, release, to)
    make(OllamaClient(each_ollama), release, 0.9)
    proxy.refuse = lambda method, path: 403 if method == "PUT" and "/manifests/" in path else 0
    with pytest.raises(ServerError, match="could not push") as caught:
        publish(each_ollama, release, to)
    assert "every layer had arrived: it broke off at the manifest" in caught.value.where
    kept = Registry(Transport(f"http://{proxy.address}"), parse_target(to)).manifest()
    assert kept is not None
    assert kept.digest == first.digest


def test_a_proxy_that_changes_manifests_on_their_way(each_ollama: str, proxy: Any, release: str) -> None:
    """The registry's own word for the digest is passed on, so that the manifest is not what it says it is."""
    proxy.change = lambda manifest: re.sub(rb"sha256:[0-9a-f]{64}", b"sha256:" + b"7" * 64, manifest, count=1)
    with pytest.raises(Damaged, match="names another digest than its manifest has"):
        publish(each_ollama, release, place(proxy.address))
