"""The seam for subprocesses: library code asks a runner, tests pass their own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ggship.errors import ToolFailed

TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Completed:
    """A subprocess that ended: its arguments, exit status, and stdout with stderr, in the order they came."""

    argv: tuple[str, ...]
    returncode: int
    output: str

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of the output: what an error message shows."""
        return "\n".join(self.output.strip().splitlines()[-lines:])


class Runner(Protocol):
    """Runs a program to its end. Never through a shell."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Completed:
        """Run `argv`; raise ToolFailed where it cannot start or takes over `timeout` seconds, never for its status."""
        ...


def run_subprocess(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Completed:
    """The real Runner. `env` is the whole environment of the child, or None for ours."""
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=dict(env) if env is not None else None,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolFailed(f"cannot start {argv[0]}", where=str(error)) from error
    except subprocess.TimeoutExpired as error:
        seen = (error.output or b"").decode("utf-8", "replace")
        tail = "\n".join(seen.strip().splitlines()[-TAIL_LINES:])
        raise ToolFailed(
            f"{Path(argv[0]).name} took longer than {timeout:.0f} s and was stopped", where=tail
        ) from error
    return Completed(tuple(argv), done.returncode, done.stdout.decode("utf-8", "replace"))
