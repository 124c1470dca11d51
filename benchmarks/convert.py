"""LoRA to GGUF: ggship's native converter beside llama.cpp's own script, in one run, on an r16 adapter of a 7B's shape.

    python benchmarks/convert.py [--rounds 5]

Both are whole processes, started in turns, on the same files; needs ggship[hf] and scripts/vendor. The two outputs are
compared byte for byte before any figure is printed.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import statistics
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
from cost import Cost, run

from ggship.convert.vendored import vendor_release, vendored_llama_cpp

LAYERS, HIDDEN, FFN, RANK = 32, 4096, 11008, 16
LINEARS = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN, HIDDEN),
    "self_attn.v_proj": (HIDDEN, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (FFN, HIDDEN),
    "mlp.up_proj": (FFN, HIDDEN),
    "mlp.down_proj": (HIDDEN, FFN),
}
NATIVE = """
import sys
from pathlib import Path
from ggship.bases.model import Base
from ggship.convert import convert_adapter
from ggship.runs import read_run
run, base, out, outtype = sys.argv[1:]
base = Base(ref=base, architecture="llama", found="made for this benchmark", config_dir=Path(base))
convert_adapter(read_run(Path(run)), Path(out), base=base, converter="native", outtype=outtype)
"""


def write_case(folder: Path) -> int:
    """A bf16 adapter as PEFT saves it, and the config.json of its base; the adapter's size in bytes."""
    (folder / "base").mkdir()
    (folder / "lora").mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000}
    config |= {"hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": LAYERS}
    config |= {"num_attention_heads": 32, "num_key_value_heads": 32}
    (folder / "base" / "config.json").write_text(json.dumps(config))
    adapter = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 32, "bias": "none"}
    (folder / "lora" / "adapter_config.json").write_text(json.dumps(adapter))
    shapes = {}
    for layer in range(LAYERS):
        for name, (rows, columns) in LINEARS.items():
            module = f"base_model.model.model.layers.{layer}.{name}"
            shapes[f"{module}.lora_A.weight"] = (RANK, columns)
            shapes[f"{module}.lora_B.weight"] = (rows, RANK)
    header, end = {}, 0
    for name in sorted(shapes):
        size = 2 * shapes[name][0] * shapes[name][1]
        header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    rng = np.random.default_rng(0)
    path = folder / "lora" / "adapter_model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(shapes):
            numbers = rng.standard_normal(shapes[name], dtype=np.float32) * 0.02
            (numbers.view(np.uint32) >> 16).astype(np.uint16).tofile(file)
    return path.stat().st_size


def fastest(rounds: list[Cost]) -> float:
    return min(cost.wall for cost in rounds)


def middle(rounds: list[Cost]) -> float:
    return statistics.median(cost.wall for cost in rounds)


def largest(rounds: list[Cost]) -> float:
    return max(cost.memory for cost in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--outtype", default="f32", choices=["f32", "f16", "bf16"])
    arguments = parser.parse_args()
    script = str(vendored_llama_cpp() / "convert_lora_to_gguf.py")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        size = write_case(folder)
        lora, base = str(folder / "lora"), str(folder / "base")
        outs = {"native": folder / "native.gguf", "vendored": folder / "vendored.gguf"}
        commands = {
            "native": [sys.executable, "-c", NATIVE, lora, base, str(outs["native"]), arguments.outtype],
            "vendored": [sys.executable, script, "--base", base, "--outtype", arguments.outtype],
        }
        commands["vendored"] += ["--outfile", str(outs["vendored"]), lora]
        print(f"llama 7B shape, r{RANK} on all linear modules, bf16, {size / 1e6:.0f} MB -> {arguments.outtype}")
        print(f"vendored: {vendor_release()}; {os.cpu_count()} cores; {arguments.rounds} rounds in turns")
        for command in commands.values():  # once for the file caches and for the bytecode of both
            run(command, os.environ)
        if not filecmp.cmp(outs["native"], outs["vendored"], shallow=False):
            raise SystemExit("the two files differ")
        print(f"the two files are the same {outs['native'].stat().st_size / 1e6:.0f} MB, byte for byte\n")
        results: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                results[name].append(run(command, os.environ))
        print(f"{'':10}{'min s':>8}{'median s':>10}{'peak MB':>9}")
        for name, rounds in results.items():
            print(f"{name:10}{fastest(rounds):8.2f}{middle(rounds):10.2f}{largest(rounds):9.0f}")
        best, median, memory = (
            pick(results["vendored"]) / pick(results["native"]) for pick in (fastest, middle, largest)
        )
        print(f"\nnative is {best:.1f} times faster by the best rounds, {median:.1f} by the median ones;")
        print(f"its peak memory is 1/{memory:.1f} of the script's")


if __name__ == "__main__":
    main()
