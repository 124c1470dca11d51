"""What a program costs from its start to its end: seconds of wall clock and CPU, and the largest resident memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

LAUNCHER = """
import os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, used = os.wait4(child, 0)
kilobytes = used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
print([time.perf_counter() - started, used.ru_utime + used.ru_stime, kilobytes])
sys.exit(1 if status else 0)
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall clock, seconds of CPU, and the largest resident set in MB; of several programs in a row."""

    wall: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0

    def then(self, other: Cost) -> Cost:
        """The cost of one after the other."""
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.memory, other.memory))

    def best(self, other: Cost) -> Cost:
        """The fastest of two rounds, and the larger memory."""
        return Cost(min(self.wall, other.wall), min(self.cpu, other.cpu), max(self.memory, other.memory))


def run(argv: list[str], environment: Mapping[str, str]) -> Cost:
    """Run a program to its end and take its cost from the kernel; a program that fails ends the benchmark.

    Linux counts the memory of whoever started a program as the program's own peak, and a benchmark is large: so a small
    process starts it. Its 10 MB are the least that can be measured.
    """
    # What pip installs has bytecode beside it; a checkout gets its own in the first round, unless this forbids it.
    environment = {key: value for key, value in environment.items() if key != "PYTHONDONTWRITEBYTECODE"}
    os.sync()  # or this program would wait for the disk to take what the one before it left in memory
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, *argv]
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(launch, env=environment, stdout=subprocess.PIPE, stderr=log, check=False)
        if done.returncode:
            log.seek(0)
            sys.exit(f"{' '.join(argv[:3])} failed:\n{log.read()[-2000:].decode('utf-8', 'replace')}")
    wall, cpu, kilobytes = json.loads(done.stdout)
    return Cost(wall, cpu, kilobytes / 1024)
