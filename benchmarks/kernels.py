"""The compiled loops of a merge beside what does the same without them: nanoseconds a weight, on one core.

    python benchmarks/kernels.py [--llama-cpp DIR]

The fastest of 7 turns each, on one chunk of a merge (131,072 weights, rows of 4096, rank 8); the outputs are compared
first. --llama-cpp names the folder of llama.cpp's libraries, whose own quantizers then run too.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import libgguf
import numpy as np

from ggship.gguf.compiled import Compiled, compiled
from ggship.gguf.lowrank import LowRank
from ggship.gguf.quantize import Kernels, NativeKernels, read_plain
from ggship.gguf.scratch import Scratch
from ggship.gguf.shared import SharedKernels
from ggship.gguf.types import GgmlType

ROWS, COLUMNS, RANK = 32, 4096, 8


def nanoseconds(call: Callable[[], object]) -> float:
    """A weight, in the fastest of 7 turns."""
    turns = []
    for _ in range(7):
        started = time.perf_counter()
        call()
        turns.append(time.perf_counter() - started)
    return min(turns) / (ROWS * COLUMNS) * 1e9


def row(what: str, **figures: float) -> None:
    print(f"{what:16s}" + "".join(f"  {name} {figure:6.1f}" for name, figure in figures.items()))


def quantizers(kind: GgmlType, weights: np.ndarray, loops: Compiled, others: Mapping[str, Kernels]) -> None:
    ours, theirs = (np.zeros((ROWS, kind.row_bytes(COLUMNS)), np.uint8) for _ in range(2))
    figures = {name: nanoseconds(partial(kernels.quantize, kind, weights, theirs)) for name, kernels in others.items()}
    figures["kernels.c"] = nanoseconds(partial(loops.quantize, kind, weights, ours))
    assert np.array_equal(ours, theirs)
    row(f"to {kind.name}" + " (numpy)" * (kind is GgmlType.Q8_0), **figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, help="folder of libggml-base.so")
    asked = parser.parse_args()
    loops = compiled()
    if loops is None:
        sys.exit("there are no compiled loops here: scripts/build-kernels makes them, where there is a C compiler")
    others: dict[str, Kernels] = {"libgguf": NativeKernels(libgguf)}
    if asked.llama_cpp:
        others["ggml"] = SharedKernels(asked.llama_cpp / "libggml-base.so", others["libgguf"])
    rng = np.random.default_rng(0)
    halves = (rng.standard_normal((ROWS, COLUMNS)) * 0.02).astype(np.float16)
    weights = halves.astype(np.float32)
    for kind in (GgmlType.Q4_K, GgmlType.Q5_K, GgmlType.Q6_K, GgmlType.Q8_0):
        quantizers(kind, weights, loops, others)
    read = np.empty_like(weights)
    figures = {"numpy": nanoseconds(lambda: read_plain(GgmlType.F16, halves.view(np.uint8), read))}
    row("from F16", **figures, **{"kernels.c": nanoseconds(lambda: loops.read_half(halves.view(np.uint8), read))})
    b, a = rng.standard_normal((ROWS, RANK)) * 0.002, rng.standard_normal((RANK, COLUMNS)) * 0.015
    update, scratch = LowRank(b.astype(np.float32), a.astype(np.float32)), Scratch()
    delta, merged, tiles = np.empty(weights.shape), np.empty_like(weights), loops.tiles(update.a)
    rows = slice(0, ROWS)
    figures = {"numpy": nanoseconds(lambda: update._by_numpy(rows, weights, delta, merged, scratch))}
    first = merged.copy()
    figures["kernels.c"] = nanoseconds(lambda: loops.merge(update.b, tiles, update.known(rows), weights, delta, merged))
    assert (first != merged).mean() < 1e-3  # but for those that either gives back to be done exactly
    row("W + B A", **figures)


if __name__ == "__main__":
    main()
