"""From a trained run to a quantized GGUF: `ggship merge` beside the chain that people run today, in one run.

    python benchmarks/chain.py --base-gguf SmolLM2-135M-Instruct.Q4_1.gguf --llama-cpp FOLDER [--rounds 3]

The chain: PEFT's merge_and_unload in torch, llama.cpp's convert_hf_to_gguf.py, llama-quantize to Q8_0. ggship: the
same adapter into the base's F16 GGUF, Q8_0 in the same pass. Whole processes, in turns, on the same files. The base as
a Hugging Face directory and as F16 GGUF is made first, and not timed. Needs ggship[hf], scripts/vendor, and
llama.cpp's programs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from cost import Cost, run

from ggship.convert.vendored import vendored_llama_cpp

EXAMPLE = Path(__file__).parents[1] / "examples" / "law-helper" / "lora-out"

AS_HF = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer
gguf, out = Path(sys.argv[1]), sys.argv[2]
model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
model.is_quantized = False
for owner, mark in ((model, "hf_quantizer"), (model.config, "quantization_config")):
    if hasattr(owner, mark):
        delattr(owner, mark)
model.half().save_pretrained(out)
AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(out)
"""
PEFT_MERGE = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, run, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16)
PeftModel.from_pretrained(model, run).merge_and_unload().save_pretrained(out)
AutoTokenizer.from_pretrained(base).save_pretrained(out)
"""


def measured(*commands: list[str]) -> Cost:
    """The cost of the commands one after the other."""
    total = Cost()
    for command in commands:
        total = total.then(run(command, {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-gguf", type=Path, required=True)
    parser.add_argument("--llama-cpp", type=Path, required=True, help="folder of llama-quantize")
    parser.add_argument("--run", type=Path, default=EXAMPLE)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    os.environ["LD_LIBRARY_PATH"] = f"{asked.llama_cpp}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    converter = str(vendored_llama_cpp() / "convert_hf_to_gguf.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hf, merged, f16 = folder / "hf", folder / "merged", folder / "base-f16.gguf"
        measured([sys.executable, "-c", AS_HF, str(asked.base_gguf), str(hf)])
        measured([sys.executable, converter, str(hf), "--outtype", "f16", "--outfile", str(f16)])
        chain = [
            [sys.executable, "-c", PEFT_MERGE, str(hf), str(asked.run), str(merged)],
            [sys.executable, converter, str(merged), "--outtype", "f16", "--outfile", str(folder / "merged-f16.gguf")],
            [
                str(asked.llama_cpp / "llama-quantize"),
                str(folder / "merged-f16.gguf"),
                str(folder / "chain-q8_0.gguf"),
                "Q8_0",
            ],
        ]
        ours = [sys.executable, "-m", "ggship", "merge", str(asked.run), "--base", str(f16)]
        ours += ["--quant", "Q8_0", "--out", str(folder / "ours-q8_0.gguf")]
        costs: dict[str, list[Cost]] = {"chain": [], "ggship": []}
        for number in range(asked.rounds):
            costs["chain"].append(measured(*chain))
            costs["ggship"].append(measured(ours))
            seconds = {who: rows[-1].wall for who, rows in costs.items()}
            print(f"round {number + 1}: chain {seconds['chain']:.1f} s, ggship {seconds['ggship']:.2f} s", flush=True)
        middle = {who: statistics.median(cost.wall for cost in rows) for who, rows in costs.items()}
        memory = {who: max(cost.memory for cost in rows) for who, rows in costs.items()}
        print(f"chain   median {middle['chain']:.1f} s, at most {memory['chain']:.0f} MB")
        print(f"ggship  median {middle['ggship']:.2f} s, at most {memory['ggship']:.0f} MB")
        print(f"ratio   {middle['chain'] / middle['ggship']:.1f} times faster")


if __name__ == "__main__":
    main()
