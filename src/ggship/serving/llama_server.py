"""llama.cpp's own server: the proven GGUF, with the chat template of training."""

from __future__ import annotations

from pathlib import Path

from ggship.serving.beside_base import script
from ggship.serving.model import TEMPLATE_FILE, Kit, Served


def llama_server(served: Served) -> Kit:
    """`llama-server -m MODEL [--lora ADAPTER] --jinja --chat-template-file ...`."""
    files, command = gguf_files(served)
    return Kit(
        {**files, "serve.sh": script(["llama-server", *command], port=8080)},
        "sh serve.sh",
        "http://127.0.0.1:8080/v1",
        served.stop_notes(),
    )


def gguf_files(served: Served, folder: str = ".") -> tuple[dict[str, str | Path], list[str]]:
    """(the GGUF files and the template, llama-server's arguments where they lie in `folder`)."""
    model, adapter = served.weights()
    files: dict[str, str | Path] = {model.name: model, TEMPLATE_FILE: served.template}
    command = ["-m", f"{folder}/{model.name}"]
    if adapter is not None:
        files[adapter.name] = adapter
        command += ["--lora", f"{folder}/{adapter.name}"]
    command += ["--alias", served.name, "--jinja", "--chat-template-file", f"{folder}/{TEMPLATE_FILE}"]
    return files, command + (["-c", str(served.context)] if served.context else [])
