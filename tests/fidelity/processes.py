"""The two long-lived processes of the matrix: llama.cpp, and a Python with torch already loaded."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ggship.runner import Completed

HERE = Path(__file__).parent


class LineProcess:
    """A process that answers one line of JSON with one line of JSON; started when it is first asked."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115, lives as long as the process

    def ask(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """The answer. RuntimeError with the last lines of its log where it dies; the next task starts it again."""
        if self._process is None:
            env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=env
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(dict(task)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            self.close()
            raise RuntimeError(f"{self._argv[1:]} ended with {status}\n{self.tail()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def tail(self) -> str:
        self._log.seek(0)
        return "\n".join(self._log.read().splitlines()[-15:])

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):  # it is gone already
                if pipe:
                    pipe.close()
        process.wait()


class LlamaCpp:
    """llama.cpp in 32-bit floats: the next token's whole distribution for each prompt."""

    def __init__(self) -> None:
        self._process = LineProcess([sys.executable, str(HERE / "llama_cpp_child.py")])

    def ask(
        self, model: Path, prompts: Sequence[Sequence[int]], vocabulary: int, adapter: Path | None = None
    ) -> np.ndarray:
        """Log-probabilities, float64 [prompts, vocabulary]. RuntimeError where llama.cpp refuses the files."""
        answer = self._process.ask(
            {
                "model": str(model),
                "adapter": str(adapter) if adapter else None,
                "prompts": [list(prompt) for prompt in prompts],
                "vocabulary": vocabulary,
            }
        )
        if "error" in answer:
            raise RuntimeError(f"llama.cpp: {answer['error']}\n{self._process.tail()}")
        rows = np.array(answer["rows"], dtype=np.float64)
        assert np.isfinite(rows).all(), "llama.cpp left tokens out"
        return rows

    def close(self) -> None:
        self._process.close()


class WarmRunner:
    """A ggship Runner whose Python scripts run in a fork of a process that has torch loaded (warm_process.py)."""

    def __init__(self, vendor: Path) -> None:
        self._process = LineProcess([sys.executable, str(HERE / "warm_process.py"), str(vendor)])

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Completed:
        assert argv[0] == sys.executable
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as output:
            task = {
                "argv": list(argv),
                "env": dict(os.environ if env is None else env),
                "cwd": str(cwd) if cwd else None,
                "output": output.name,
                "timeout": timeout,
            }
            status = self._process.ask(task)["returncode"]
            return Completed(tuple(argv), status, output.read())

    def close(self) -> None:
        self._process.close()
