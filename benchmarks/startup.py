"""How long a user waits for nothing: `--version`, `--help`, `inspect`, and a `package` that has nothing left to do.

    python benchmarks/startup.py [--rounds 11] [--host URL]

Whole processes, medians, beside the budget of each and beside `python -c pass`, which no Python program can beat. With
--host the example is packaged once on that server (--no-eval) and then again and again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "law-helper" / "lora-out"
NAME = "ggship-benchmark"


def seconds(command: list[str], rounds: int, **environment: str) -> float:
    """Median wall time of a whole process, in seconds, after one run that is not counted."""
    times = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
        if done.returncode:
            sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
        if number:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--host", help="an Ollama server that holds the example's base")
    asked = parser.parse_args()
    ggship = [str(Path(sys.executable).with_name("ggship"))]
    floor = seconds([sys.executable, "-c", "pass"], asked.rounds)
    print(f"{'python -c pass':32}{1000 * floor:6.0f} ms")
    rows: list[tuple[str, list[str], float]] = [
        ("--version", ["--version"], 0.1),
        ("--help", ["--help"], 0.15),
        ("inspect examples/law-helper", ["inspect", str(EXAMPLE)], 0.3),
    ]
    with tempfile.TemporaryDirectory() as folder:
        if asked.host:
            again = ["package", str(EXAMPLE), "--name", NAME, "--host", asked.host, "--no-eval"]
            rows.append(("package, nothing to do", [*again, "--out", f"{folder}/package"], 1.0))
        for title, arguments, budget in rows:
            rounds = asked.rounds if budget < 1 else max(3, asked.rounds // 3)
            took = seconds(ggship + arguments, rounds, GGSHIP_STATE_DIR=f"{folder}/state")
            print(f"{title:32}{1000 * took:6.0f} ms   budget {1000 * budget:5.0f} ms   {took / budget:4.2f} of it")
    if asked.host:
        from ggship.runtimes.ollama_api import OllamaClient

        client = OllamaClient(asked.host)
        for name in (NAME, f"{NAME}:previous"):
            client.delete(name)


if __name__ == "__main__":
    main()
