"""Merge and quantize: ggship in one pass beside the real llama-export-lora and llama-quantize, in one run.

    python benchmarks/merge.py --llama-cpp DIR [--base FILE] [--adapter FILE] [--quant Q8_0 ...] [--rounds 3]
    python benchmarks/merge.py --llama-cpp DIR --big 5

Without --base it takes a generated model of the example's shape; --big GB takes an F16 base as wide as a 7B model of
about that size. Without --adapter it takes a random one (r 8; r 16 with --big). Both are whole processes on the same
files, started in turns; wall and CPU time are the fastest of the rounds, memory is the largest. Theirs is
llama-export-lora followed by llama-quantize. The F16 outputs are compared weight by weight first.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cost import Cost, run

from ggship.gguf.reader import read_gguf
from ggship.gguf.types import GgmlType
from ggship.gguf.values import GgufValue, ValueType, encode
from ggship.gguf.writer import GgufWriter, NewTensor

OURS = """
import sys
from pathlib import Path
from ggship.gguf.merge import merge_adapter
base, adapter, out, quant = sys.argv[1:]
merge_adapter(Path(base), Path(adapter), Path(out), quant=quant)
"""
FLOOR_MB = 250


@dataclass
class Shape:
    """A llama by its numbers."""

    layers: int
    width: int
    ffn: int
    heads: int
    kv_heads: int
    vocab: int
    tied: bool

    def tensors(self) -> dict[str, tuple[int, ...]]:
        kv = self.width * self.kv_heads // self.heads
        found: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.vocab, self.width)}
        for layer in range(self.layers):
            linear = {"attn_q": (self.width, self.width), "attn_k": (kv, self.width), "attn_v": (kv, self.width)}
            linear |= {"attn_output": (self.width, self.width), "ffn_gate": (self.ffn, self.width)}
            linear |= {"ffn_up": (self.ffn, self.width), "ffn_down": (self.width, self.ffn)}
            found |= {f"blk.{layer}.{kind}.weight": shape for kind, shape in linear.items()}
            found |= {f"blk.{layer}.{kind}_norm.weight": (self.width,) for kind in ("attn", "ffn")}
        found["output_norm.weight"] = (self.width,)
        return found if self.tied else {**found, "output.weight": (self.vocab, self.width)}


EXAMPLE = Shape(30, 576, 1536, 9, 3, 49152, tied=True)


def big(gigabytes: float) -> Shape:
    """As many layers of a 7B's width as make that size in F16."""
    layers = max(1, round((gigabytes * 1e9 / 2 - 2 * 32000 * 4096) / (4 * 4096**2 + 3 * 4096 * 11008)))
    return Shape(layers, 4096, 11008, 32, 32, 32000, tied=False)


def write_base(path: Path, shape: Shape, kind: GgmlType) -> None:
    """Gaussian weights: slices of one long random array, so that gigabytes take seconds."""
    keys: dict[str, object] = {
        "context_length": 2048, "embedding_length": shape.width, "block_count": shape.layers,
        "feed_forward_length": shape.ffn, "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads, "attention.layer_norm_rms_epsilon": 1e-5, "vocab_size": shape.vocab,
    }  # fmt: skip
    metadata = {"general.architecture": encode("llama"), "general.file_type": GgufValue.uint32(1)}
    metadata |= {f"llama.{key}": encode(value) for key, value in keys.items()}
    new = [NewTensor(name, size, kind if len(size) > 1 else GgmlType.F32) for name, size in shape.tensors().items()]
    rng = np.random.default_rng(0)
    pool = (rng.standard_normal(1 << 25, dtype=np.float32) * 0.02).astype(np.float16)
    with GgufWriter(path, metadata, new) as writer:
        for tensor in writer.tensors:
            if len(tensor.shape) == 1:
                writer.write_at(tensor.offset, np.ones(tensor.shape, np.float32).tobytes())
                continue
            done = 0
            while done < tensor.elements:
                start = int(rng.integers(0, pool.size // 2))
                count = min(pool.size // 2, tensor.elements - done)
                writer.write_at(tensor.offset + 2 * done, pool[start : start + count].tobytes())
                done += count


def write_adapter(path: Path, base: Path, rank: int) -> None:
    """A random adapter on every linear layer, about as large as a trained one."""
    rng = np.random.default_rng(1)
    file = read_gguf(base)
    found = [t for t in file.tensors if t.name.startswith("blk.") and len(t.shape) == 2]
    shapes = {
        f"{tensor.name}.lora_{half}": ((rank, tensor.columns) if half == "a" else (tensor.rows, rank), half)
        for tensor in found
        for half in "ab"
    }
    metadata = {
        "general.architecture": encode(file.architecture), "general.type": encode("adapter"),
        "adapter.type": encode("lora"), "adapter.lora.alpha": encode(2.0 * rank),
    }  # fmt: skip
    assert metadata["adapter.lora.alpha"].type is ValueType.FLOAT32
    with GgufWriter(path, metadata, [NewTensor(name, shape, GgmlType.F32) for name, (shape, _) in shapes.items()]) as w:
        for tensor in w.tensors:
            values = rng.standard_normal(tensor.shape, dtype=np.float32)
            values *= tensor.columns**-0.5 if shapes[tensor.name][1] == "a" else 0.002
            w.write_at(tensor.offset, values.tobytes())


class Bench:
    """One base, one adapter, both ways of merging."""

    def __init__(self, base: Path, adapter: Path, tools: Path, folder: Path, threads: int) -> None:
        self.base, self.adapter, self.tools, self.folder, self.threads = base, adapter, tools, folder, threads
        self.environment = os.environ | {"LD_LIBRARY_PATH": str(tools)}

    def ours(self, quant: str) -> Cost:
        argv = [sys.executable, "-c", OURS, str(self.base), str(self.adapter), str(self.folder / "ours.gguf"), quant]
        return run(argv, os.environ)

    def export(self) -> Cost:
        argv = [str(self.tools / "llama-export-lora"), "-m", str(self.base), "--lora", str(self.adapter)]
        return run([*argv, "-o", str(self.folder / "merged.gguf"), "-t", str(self.threads)], self.environment)

    def quantize(self, quant: str) -> Cost:
        argv = [str(self.tools / "llama-quantize"), "--allow-requantize", str(self.folder / "merged.gguf")]
        return run([*argv, str(self.folder / "theirs.gguf"), quant, str(self.threads)], self.environment)

    def compare(self) -> str:
        """Largest distance between our F16 weights and llama-export-lora's, in steps of an F16."""
        self.export()
        self.ours("F16")
        ours, theirs = read_gguf(self.folder / "ours.gguf"), read_gguf(self.folder / "merged.gguf")
        places = {tensor.name: tensor for tensor in theirs.tensors}
        worst = different = total = 0
        for tensor in ours.tensors:
            other = places[tensor.name]
            if not tensor.type == other.type == GgmlType.F16:
                continue
            halves = [
                np.memmap(file.path, np.int16, "r", place.offset, (place.elements,))
                for file, place in ((ours, tensor), (theirs, other))
            ]
            for start in range(0, tensor.elements, 1 << 22):
                steps = [_ordered(half[start : start + (1 << 22)]) for half in halves]
                distance = np.abs(steps[0] - steps[1])
                worst, different = max(worst, int(distance.max())), different + int((distance > 0).sum())
            total += tensor.elements
        return f"F16 beside llama-export-lora: {different} of {total} weights differ, by {worst} step(s) at most"


def _ordered(half: np.ndarray) -> np.ndarray:
    wide = half.astype(np.int32)
    return np.where(wide < 0, -(wide & 0x7FFF), wide)


def measure(bench: Bench, quant: str, rounds: int) -> dict[str, object]:
    """In turns; the first round's disk cache is everybody's."""
    ours, theirs, export = Cost(9e9, 9e9), Cost(9e9, 9e9), Cost(9e9, 9e9)
    for _ in range(rounds):
        first = bench.export()
        export = export.best(first)
        theirs = theirs.best(first.then(bench.quantize(quant)))
        ours = ours.best(bench.ours(quant))
    print(f"\n{quant}: wall s, CPU s, peak MB (fastest of {rounds}, in turns)")
    for name, cost in (("export-lora + quantize", theirs), ("  export-lora alone", export), ("ggship merge", ours)):
        print(f"  {name:24s}{cost.wall:9.2f}{cost.cpu:9.2f}{cost.memory:9.0f}")
    allowed = max(theirs.memory, FLOOR_MB)
    memory = f"memory {ours.memory:.0f} MB of {allowed:.0f} allowed"
    print(f"  ratio: {theirs.wall / ours.wall:.2f} x faster (CPU {theirs.cpu / ours.cpu:.2f} x); {memory}")
    return {"quant": quant, "ours": vars(ours), "theirs": vars(theirs), "ratio": theirs.wall / ours.wall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, help="folder of llama-export-lora and llama-quantize")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--big", type=float, metavar="GB")
    parser.add_argument("--quant", nargs="+", default=["Q8_0", "Q4_K_M"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    found = options.llama_cpp or os.environ.get("LLAMA_CPP_DIR") or Path(shutil.which("llama-quantize") or ".").parent
    tools = Path(found).resolve()
    missing = [name for name in ("llama-export-lora", "llama-quantize") if not (tools / name).exists()]
    if missing:
        sys.exit(f"{', '.join(missing)} not in {tools}: name their folder with --llama-cpp or LLAMA_CPP_DIR")
    with tempfile.TemporaryDirectory(prefix="ggship-merge-", dir=options.folder) as temporary:
        folder = Path(temporary)
        base, adapter = options.base or folder / "base.gguf", options.adapter or folder / "adapter.gguf"
        if options.base is None:
            write_base(base, big(options.big) if options.big else EXAMPLE, GgmlType.F16)
        if options.adapter is None:
            write_adapter(adapter, base, 16 if options.big else 8)
        threads = len(os.sched_getaffinity(0))
        sizes = f"{base.stat().st_size / 1e9:.2f} GB, adapter {adapter.stat().st_size / 1e6:.1f} MB"
        print(f"base {base.name}: {sizes}, {threads} threads")
        bench = Bench(base, adapter, tools, folder, threads)
        print(bench.compare())
        figures = [measure(bench, quant, options.rounds) for quant in options.quant]
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
