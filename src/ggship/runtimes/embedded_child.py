"""The child process of the embedded runtime: llama.cpp's server in a process of its own.

`python -m ggship.runtimes.embedded_child` reads one line of JSON from stdin (model, adapter, jinja, num_ctx, threads,
key), serves that model on a free port of loopback to whoever has the key, and prints one line of JSON: {"url": ...} or
{"error": ...}. It ends when its stdin does, also while it loads, so it never outlives the process that started it.
llama.cpp's log goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, TextIO


def serve(spec: dict[str, Any], out: TextIO) -> None:
    """Load the model and print the ready line."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = spec["model"]
    params.n_ctx = int(spec["num_ctx"])
    params.n_parallel = 1  # one question at a time: answers do not depend on what else is asked
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [spec["key"]]  # loopback is open to every user of the machine, and to their browsers
    params.warmup = False
    params.endpoint_slots = False
    params.ui = False
    params.offline = True
    params.use_jinja = True
    if spec.get("jinja"):
        params.chat_template = spec["jinja"]
    if spec.get("threads"):
        params.cpuparams.n_threads = int(spec["threads"])
        params.cpuparams_batch.n_threads = int(spec["threads"])
    if spec.get("adapter"):
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path = spec["adapter"]
        adapter.scale = 1.0
        params.lora_adapters = [adapter]
    server = xllamacpp.Server(params)
    out.write(json.dumps({"url": server.listening_address}) + "\n")
    out.flush()
    threading.Event().wait()  # until stdin ends


def end_with_stdin() -> None:
    """End with the parent: its end of our stdin is closed by its death too, however it died."""
    threading.Thread(target=_watch, daemon=True).start()
    if sys.platform.startswith("linux"):
        # llama.cpp keeps the interpreter's lock while it loads, for minutes, and our thread stands still. The kernel
        # does not: it sends SIGIO, which ends a process that has no handler for it.
        import fcntl

        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _watch() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """Keep stdout for the ready line alone: native code may print there too."""
    try:
        out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        spec = json.loads(sys.stdin.readline())
        end_with_stdin()
        try:
            serve(spec, out)
        except Exception as error:
            out.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
            out.flush()
    finally:
        # llama.cpp's threads would hold up a proper end, and there is nothing to save.
        os._exit(1)


if __name__ == "__main__":
    main()
