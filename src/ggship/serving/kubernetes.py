"""A Kubernetes manifest: llama-server, with the model out of an OCI image or downloaded, and its sha256 checked first.

Image volumes need Kubernetes 1.31 with their feature gate, or 1.35 (kubernetes.io, "Use an Image Volume With a Pod").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ggship.digests import DigestCache
from ggship.errors import Refused, UsageError
from ggship.serving.llama_server import gguf_files
from ggship.serving.model import TEMPLATE_FILE, Kit, Served, to_yaml

SERVER = "ghcr.io/ggml-org/llama.cpp:server-b11434"
_CURL = "docker.io/curlimages/curl:8.16.0"
_PORT = 8080
_SHARE = 1.3  # what a server takes beside the file: context, buffers


def kubernetes(served: Served) -> Kit:
    """Deployment, Service and the template in a ConfigMap. With options.image an image volume, with options.url a
    download; the pod does not start where the bytes are not those that were proven.
    """
    model, adapter = served.weights()
    if adapter is not None:
        raise Refused(
            "a pod takes one file", where=str(adapter), hint="package it again with --strategy merge: one file, no base"
        )
    image, url = served.options.image, served.options.url
    if bool(image) == bool(url):
        raise UsageError(
            "where does the pod get the model from?",
            hint="--image REGISTRY/NAME:TAG, which the Containerfile makes, or --url URL of the GGUF",
        )
    digest = DigestCache().sha256(model)
    documents = [_template(served), _deployment(served, model, digest), _service(served)]
    files: dict[str, str | Path] = {"manifest.yaml": to_yaml(*documents)}
    notes = served.stop_notes()
    if image:
        files |= {model.name: model, "Containerfile": f"FROM scratch\nCOPY {model.name} /\n"}
        notes = (f"make the image first: podman build -t {image} . && podman push {image}", *notes)
    port = f"kubectl port-forward service/{served.label} {_PORT}:80"
    return Kit(files, "kubectl apply -f manifest.yaml", f"http://127.0.0.1:{_PORT}/v1", (*notes, f"to ask it: {port}"))


def _labels(served: Served) -> dict[str, str]:
    return {"app.kubernetes.io/name": served.label, "app.kubernetes.io/managed-by": "ggship"}


def _template(served: Served) -> dict[str, Any]:
    meta = {"name": f"{served.label}-template", "labels": _labels(served)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {TEMPLATE_FILE: served.template}}


def _service(served: Served) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": served.label, "labels": _labels(served)},
        "spec": {
            "selector": {"app.kubernetes.io/name": served.label},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def _deployment(served: Served, model: Path, digest: str) -> dict[str, Any]:
    _, command = gguf_files(served, "/models")
    command[command.index(f"/models/{TEMPLATE_FILE}")] = f"/template/{TEMPLATE_FILE}"
    memory = f"{int(model.stat().st_size * _SHARE / 2**20) + 256}Mi"
    locked = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    health = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 5}
    server = {
        "name": "llama-server",
        "image": SERVER,
        "args": [*command, "--host", "0.0.0.0", "--port", str(_PORT)],
        "ports": [{"name": "http", "containerPort": _PORT}],
        "startupProbe": {**health, "failureThreshold": 120},
        "readinessProbe": health,
        "livenessProbe": {**health, "periodSeconds": 20, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "1", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": locked,
        "volumeMounts": [
            {"name": "model", "mountPath": "/models", "readOnly": True},
            {"name": "template", "mountPath": "/template", "readOnly": True},
        ],
    }
    check = f"cd /models && echo '{digest}  {model.name}' | sha256sum -c -"
    mount = {"name": "model", "mountPath": "/models"}
    prove: dict[str, Any] = {"name": "prove", "image": SERVER, "command": ["sh", "-ec", check]}
    prove |= {"volumeMounts": [{**mount, "readOnly": True}], "securityContext": locked}
    first = [prove]
    if served.options.image:
        volume: dict[str, Any] = {"image": {"reference": served.options.image, "pullPolicy": "IfNotPresent"}}
    else:
        volume = {"emptyDir": {}}
        fetch = ["curl", "-fL", "--retry", "5", "-o", f"/models/{model.name}", served.options.url]
        first = [
            {"name": "fetch", "image": _CURL, "command": fetch, "volumeMounts": [mount], "securityContext": locked},
            prove,
        ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": served.label, "labels": _labels(served)},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app.kubernetes.io/name": served.label}},
            "template": {
                "metadata": {"labels": _labels(served)},
                "spec": {
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "fsGroup": 65534},
                    "initContainers": first,
                    "containers": [server],
                    "volumes": [
                        {"name": "model", **volume},
                        {"name": "template", "configMap": {"name": f"{served.label}-template"}},
                    ],
                },
            },
        },
    }
