"""docker compose: Ollama with the proven model in it, and One-API in front."""

from __future__ import annotations

import re
from typing import Any

from ggship.errors import Refused
from ggship.modelfile import parse
from ggship.package import MODELFILE
from ggship.runtimes.cliffs import accepts_adapters
from ggship.serving.model import Kit, Served, to_yaml

ONE_API = "docker.io/justsong/one-api:v0.6.10"
_DEFAULT_OLLAMA = "0.34.4"


def compose(served: Served) -> Kit:
    """compose.yaml: Ollama of the version that the proof was on, a job that makes the model of the package there, and
    One-API, whose data stay in a volume.
    """
    info = served.info
    version = _version(str(info.document["model"].get("server") or ""))
    modelfile = parse((info.path / MODELFILE).read_text("utf-8"))
    if modelfile.adapter and accepts_adapters(version) is False:
        raise Refused(
            f"Ollama {version} takes no adapters",
            where=str(info.path / MODELFILE),
            hint="package it again with --strategy merge",
        )
    if not modelfile.from_.startswith("./"):
        raise Refused(
            "the package's base is a model of a server, and not a file",
            where=f"FROM {modelfile.from_}",
            hint="package it again with --strategy merge: that model needs no base beside it",
        )
    names = [name for name in (modelfile.from_, modelfile.adapter) if name and name.startswith("./")]
    files = {f"model/{name[2:]}": info.path / name for name in names} | {f"model/{MODELFILE}": info.path / MODELFILE}
    ollama = f"docker.io/ollama/ollama:{version}"
    services: dict[str, Any] = {
        "ollama": {
            "image": ollama,
            "volumes": ["ollama:/root/.ollama"],
            "ports": ["127.0.0.1:11434:11434"],
            "healthcheck": {"test": ["CMD", "ollama", "list"], "interval": "5s", "retries": 20},
            "restart": "unless-stopped",
        },
        "model": {
            "image": ollama,
            "environment": {"OLLAMA_HOST": "http://ollama:11434"},
            "volumes": ["./model:/model:ro"],
            "command": ["create", served.name, "-f", f"/model/{MODELFILE}"],
            "depends_on": {"ollama": {"condition": "service_healthy"}},
            "restart": "on-failure",
        },
        "one-api": {
            "image": ONE_API,
            "environment": {"SQLITE_BUSY_TIMEOUT": "3000"},
            "volumes": ["one-api:/data"],
            "ports": ["127.0.0.1:3000:3000"],
            "depends_on": {"model": {"condition": "service_completed_successfully"}},
            "restart": "unless-stopped",
        },
    }
    document = {"name": served.label, "services": services, "volumes": {"ollama": {}, "one-api": {}}}
    route = f"ggship gateway apply {served.name} --url http://127.0.0.1:3000 --upstream http://ollama:11434"
    return Kit(
        {**files, "compose.yaml": to_yaml(document)},
        "docker compose up -d",
        "http://127.0.0.1:11434/v1",
        (f"lead One-API to it: {route}",),
    )


def _version(server: str) -> str:
    found = re.search(r"Ollama (\d+\.\d+\.\d+)", server)
    return found.group(1) if found else _DEFAULT_OLLAMA
