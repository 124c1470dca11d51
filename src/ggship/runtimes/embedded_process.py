"""A llama.cpp server in a child process: its life, and its death told as an error."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.errors import ServerError
from ggship.isolation import child_environment
from ggship.transport import Transport

COMMAND = (sys.executable, "-m", "ggship.runtimes.embedded_child")
LOAD_SECONDS = 900.0
STOP_SECONDS = 5.0
TAIL_LINES = 12
_STAMP = re.compile(r"^[\d.]+ ([A-Z]) ")


@dataclass(frozen=True, slots=True)
class Load:
    """What a child serves. num_ctx: tokens of context. jinja: a chat template, None for the GGUF's own."""

    model: Path
    adapter: Path | None = None
    jinja: str | None = None
    num_ctx: int = 4096

    def serves(self, other: Load) -> bool:
        """Whether a child loaded so answers what `other` asks for: the same files, and no less context."""
        same = (self.model, self.adapter, self.jinja) == (other.model, other.adapter, other.jinja)
        return same and self.num_ctx >= other.num_ctx


class Child:
    """One child. Starting it loads the model; ServerError with llama.cpp's own reason where that fails."""

    def __init__(self, load: Load, *, threads: int, command: Sequence[str] = COMMAND) -> None:
        self.load = load
        self._folder = tempfile.TemporaryDirectory(prefix="ggship-embedded-")
        self._log = Path(self._folder.name) / "log"
        key = secrets.token_urlsafe(24)
        with self._log.open("wb") as log:
            # Its own folder as the working directory: `-m` would import from ours.
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder.name,
                env=child_environment(),
            )
        try:
            url = self._start(
                {
                    "model": str(load.model.resolve()),
                    "adapter": str(load.adapter.resolve()) if load.adapter else None,
                    "jinja": load.jinja,
                    "num_ctx": load.num_ctx,
                    "threads": threads,
                    "key": key,
                }
            )
        except BaseException:
            self.close()
            raise
        # llama.cpp closes a connection that was idle for 5 seconds, now and then just when the next question comes.
        self.http = Transport(url, headers={"Authorization": f"Bearer {key}", "Connection": "close"})

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @contextmanager
    def watched(self) -> Iterator[Transport]:
        """Talk to it; where it dies meanwhile, the error says so with the last lines of its log."""
        try:
            yield self.http
        except ServerError as error:
            if error.status is not None:
                raise  # it answered
            try:
                self._process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                raise error from None
            raise self._dead("the embedded runtime crashed") from error

    def close(self) -> None:
        """End it."""
        if hasattr(self, "http"):
            self.http.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # it is gone already
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _start(self, spec: dict[str, Any]) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("both are pipes")
        timer = threading.Timer(LOAD_SECONDS, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            stdin.write(json.dumps(spec).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        try:
            answer = json.loads(line)
        except ValueError:
            self._process.wait(timeout=STOP_SECONDS)
            raise self._dead("the embedded runtime ended before the model was loaded") from None
        if "url" not in answer:
            raise ServerError(
                "llama.cpp does not load this model",
                where="\n".join(
                    [f"{self.load.model}" + self._with(), *(self._reasons() or [str(answer.get("error"))])]
                ),
                hint=_hint(" ".join(self._reasons())),
            )
        return str(answer["url"])

    def _with(self) -> str:
        return f" with {self.load.adapter}" if self.load.adapter else ""

    def _lines(self) -> list[str]:
        return self._log.read_text("utf-8", "replace").splitlines()

    def _reasons(self) -> list[str]:
        """The first lines that llama.cpp itself calls errors: the cause; what follows are consequences."""
        errors = [line for line in self._lines() if (match := _STAMP.match(line)) and match[1] == "E"]
        return [_STAMP.sub("", line) for line in errors[:3]]

    def _dead(self, message: str) -> ServerError:
        code = self._process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        return ServerError(
            f"{message} ({how})",
            where="\n".join([f"{self.load.model}{self._with()}", *self._lines()[-TAIL_LINES:]]),
            hint="too little memory is the usual cause; with an Ollama running, --runtime ollama takes that instead",
        )


def _hint(reasons: str) -> str:
    if "arch mismatch" in reasons or "incorrect shape" in reasons or "does not exist in base" in reasons:
        return "the adapter was made for another base: pass the right one with --base"
    if "magic" in reasons or "tensor data is not within the file" in reasons:
        return "the GGUF file is damaged or incomplete: download or convert it again"
    if "chat template" in reasons or "chat_template" in reasons:
        return "llama.cpp cannot read the chat template: --template names another"
    return "GGSHIP_DEBUG=1 shows more; an Ollama may run what this build of llama.cpp does not (--runtime ollama)"
