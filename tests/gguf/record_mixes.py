"""Record what the real llama-quantize makes of the small models: python record_mixes.py LLAMA_CPP_DIR."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from models import MODELS

from ggship.gguf.mix import FILE_TYPES
from ggship.gguf.reader import read_gguf


def table(types: dict[str, str]) -> dict[str, str]:
    """Tensor -> type, with the layers of one tensor on one line: "blk.*.attn_v.weight": "Q6_K Q4_K*2"."""
    rows: dict[str, list[str]] = {}
    for name, kind in types.items():
        rows.setdefault(re.sub(r"blk\.\d+\.", "blk.*.", name), []).append(kind)
    return {
        name: " ".join(kind if (n := len(list(run))) == 1 else f"{kind}*{n}" for kind, run in itertools.groupby(kinds))
        for name, kinds in rows.items()
    }


def main(folder: Path) -> None:
    recorded: dict[str, dict[str, dict[str, str]]] = {}
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder)}
    with tempfile.TemporaryDirectory() as temporary:
        for name, model in MODELS.items():
            source = model.write(Path(temporary) / "in.gguf")
            for quant in FILE_TYPES:
                out = Path(temporary) / "out.gguf"
                command = [str(folder / "llama-quantize"), str(source), str(out), quant, "2"]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{name} {quant}: {(done.stdout + done.stderr)[-1500:]}")
                types = {tensor.name: tensor.type_name for tensor in read_gguf(out).tensors}
                order = [tensor.name for tensor in read_gguf(source).tensors]
                recorded.setdefault(name, {})[quant] = table({tensor: types[tensor] for tensor in order})
    path = Path(__file__).parent / "data" / "mixes.json"
    path.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
