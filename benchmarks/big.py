"""A 70B-class merge: memory stays that of one tensor and some buffers, whatever the size of the model.

    python benchmarks/big.py [--size 10] [--quant Q8_0 Q4_K_M] [--folder DIR] [--parts 3] [--limit 2]

Writes a base as wide as a 70B model (rows of 8192, a vocabulary of 128256: its largest tensor is 2.1 GB) with as many
layers as make so many GB in F16, and a random adapter of rank 16 on every linear layer; merges and quantizes in one
process each and prints wall time, CPU time and peak memory. With --parts the base lies in so many split files. Fails
where the peak is above --limit GB. The files are removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cost import run
from merge import OURS, Shape, write_adapter, write_base

from ggship.gguf.types import GgmlType

WIDTH, FFN, HEADS, KV_HEADS, VOCABULARY = 8192, 28672, 64, 8, 128256


def shape_of(gigabytes: float) -> Shape:
    """As many layers of a 70B model as make that size in F16; the embeddings are there in any case."""
    layer = WIDTH * (2 * WIDTH + 2 * WIDTH * KV_HEADS // HEADS + 3 * FFN)
    layers = max(1, round((gigabytes * 1e9 / 2 - 2 * VOCABULARY * WIDTH) / layer))
    return Shape(layers, WIDTH, FFN, HEADS, KV_HEADS, VOCABULARY, tied=False)


def split(base: Path, parts: int, tools: Path) -> Path:
    """The same base in parts, by llama.cpp's own tool; the whole file is removed."""
    size = -(-base.stat().st_size // parts) // 10**6 + 300
    program = tools / "llama-gguf-split"
    argv = [str(program), "--split", "--split-max-size", f"{size}M", str(base), str(base.with_suffix(""))]
    subprocess.run(argv, check=True, capture_output=True, env=os.environ | {"LD_LIBRARY_PATH": str(tools)})
    base.unlink()
    return sorted(base.parent.glob("base-00001-of-*.gguf"))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=10.0, metavar="GB")
    parser.add_argument("--quant", nargs="+", default=["Q8_0", "Q4_K_M"])
    parser.add_argument("--limit", type=float, default=2.0, metavar="GB", help="the peak that is allowed")
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--llama-cpp", type=Path, default=Path(os.environ.get("LLAMA_CPP_DIR", ".")))
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ggship-big-", dir=options.folder) as temporary:
        folder = Path(temporary)
        base, adapter, out = folder / "base.gguf", folder / "adapter.gguf", folder / "out.gguf"
        shape = shape_of(options.size)
        write_base(base, shape, GgmlType.F16)
        write_adapter(adapter, base, 16)
        size = base.stat().st_size
        if options.parts > 1:
            base = split(base, options.parts, options.llama_cpp.resolve())
        print(f"base {size / 1e9:.2f} GB, {shape.layers} layers of a 70B model, largest tensor "
              f"{2 * VOCABULARY * WIDTH / 1e9:.1f} GB; adapter {adapter.stat().st_size / 1e6:.0f} MB, "
              f"{len(os.sched_getaffinity(0))} threads")  # fmt: skip
        figures, failed = [], False
        for quant in options.quant:
            cost = run([sys.executable, "-c", OURS, str(base), str(adapter), str(out), quant], os.environ)
            written = out.stat().st_size / 1e9
            failed |= cost.memory > options.limit * 1000
            print(f"{quant:8s} {written:6.2f} GB written  {cost.wall:7.1f} s wall {cost.cpu:7.1f} s CPU"
                  f"  peak {cost.memory:6.0f} MB: {size / 1e6 / cost.memory:.0f} x less than the base")  # fmt: skip
            figures.append({"quant": quant, "base_bytes": size, "written_gb": written, **vars(cost)})
            out.unlink()
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if failed:
        sys.exit(f"the peak is above {options.limit} GB")


if __name__ == "__main__":
    main()
