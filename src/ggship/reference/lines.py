"""A child process that answers one line of JSON with one line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ggship.errors import ToolFailed
from ggship.isolation import child_environment

STOP_SECONDS = 5.0
TAIL_LINES = 12
# Sums on a GPU differ from run to run, and nothing may be fetched.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class Lines:
    """One child, started at once; what it prints elsewhere goes to a log. what: its name in errors."""

    def __init__(self, module: str, what: str, *, command: Sequence[str] | None = None) -> None:
        self._what = what
        self._folder = tempfile.TemporaryDirectory(prefix="ggship-reference-")
        self._log = Path(self._folder.name) / "log"
        with self._log.open("wb") as log:
            # Its own folder as the working directory: `-m` would import from ours.
            self._process = subprocess.Popen(
                list(command or (sys.executable, "-m", module)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder.name,
                env={**child_environment(), **ENVIRONMENT},
            )

    def ask(self, question: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """The answer. Raises ToolFailed with the last lines of its log where it dies, or takes longer than that."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("both are pipes")
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            stdin.write(json.dumps(dict(question)).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._dead(f"it took longer than {seconds:.0f} s" if late.is_set() else "") from None
        if not isinstance(answer, dict):
            raise self._dead("")
        return answer

    def close(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # it is gone already
                if stream:
                    stream.close()
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _dead(self, why: str) -> ToolFailed:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=STOP_SECONDS)
        code = self._process.returncode
        killed = code is not None and code < 0 and not why
        tail = self._log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
        return ToolFailed(
            f"{self._what} ended early ({why or f'status {code}'})",
            where=os.linesep.join(tail),
            hint="it was too little memory, most likely: base and adapter are computed in 32-bit floats"
            if killed
            else "GGSHIP_DEBUG=1 in front of the same command shows more",
        )
