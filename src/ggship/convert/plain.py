"""A plain copy of a run: one file, PEFT's own names, every scale folded into B."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

from ggship.convert.pairs import fold_factor, times
from ggship.convert.tensors import tensor_reader, to_float32
from ggship.convert.versions import metadata_files
from ggship.runs.model import Run

_PREFIX = "base_model.model."


def needs_plain_copy(run: Run) -> bool:
    """Whether llama.cpp's converter would misread the run as it lies there."""
    names = all(tensor in run.tensors for module in run.modules for tensor in _names(module.name, module.embedding))
    one_file = run.tensor_files == (run.path / "adapter_model.safetensors",)
    return not names or not one_file or any(factor != 1.0 for factor in _factors(run).values())


def write_plain_copy(run: Run, folder: Path) -> None:
    """Write the copy into `folder`, which is made. Law: with scale alpha / rank, it has the run's own deltas."""
    folder.mkdir(parents=True)
    for path in metadata_files(run.path):
        shutil.copyfile(path, folder / path.name)
    config = {**run.config, "use_rslora": False, "alpha_pattern": {}}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    factors = _factors(run)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for module in run.modules:
        for name, tensor, factor in zip(
            _names(module.name, module.embedding), (module.a, module.b), (1.0, factors[module.name]), strict=True
        ):
            size = tensor.nbytes if factor == 1.0 else 4 * tensor.shape[0] * tensor.shape[1]
            dtype = tensor.dtype if factor == 1.0 else "F32"
            header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [end, end + size]}
            end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "adapter_model.safetensors").open("wb") as file, tensor_reader() as reader:
        file.write(struct.pack("<Q", len(text)) + text)
        for module in run.modules:
            file.write(reader.read(module.a).data)
            b, factor = reader.read(module.b), factors[module.name]
            file.write((b if factor == 1.0 else times(to_float32(module.b, b), factor)).data)


def _factors(run: Run) -> dict[str, float]:
    alpha = float(run.config["lora_alpha"])
    return {module.name: fold_factor(module.scale, module.rank, alpha) for module in run.modules}


def _names(module: str, embedding: bool) -> tuple[str, str]:
    stem = f"{_PREFIX}{module}"
    if embedding:
        return f"{stem}.lora_embedding_A", f"{stem}.lora_embedding_B"
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"
