"""Whether an adapter is worth converting, and whether the GGUF that came of it is whole."""

from __future__ import annotations

import re
from pathlib import Path

import gguf

from ggship.convert.tensors import is_zero, tensor_reader
from ggship.errors import ToolFailed
from ggship.runs.model import Run

_EXPERT = re.compile(r"\.experts\.\d+\.")


def is_trained(run: Run) -> bool:
    """Read every tensor once: whether any B holds anything but zeros.

    Raises AdapterUnusable for NaN or Inf, BadFile for a file cut off.
    """
    trained = False
    with tensor_reader() as reader:
        for module in run.modules:
            reader.read(module.a)
            trained = not is_zero(reader.read(module.b)) or trained
    return trained


def check_adapter_file(path: Path, run: Run) -> int:
    """The number of pairs in an adapter GGUF that the vendored converter made of `run`.

    Raises ToolFailed where it is no adapter, where half of a pair is missing, or where pairs of the run are missing:
    the script leaves out, without a word, what it takes for parts of another modality.
    """
    reader = gguf.GGUFReader(path)
    kind = reader.get_field("general.type")
    if kind is None or kind.contents() != "adapter":
        raise ToolFailed("llama.cpp's own converter wrote a file that is no adapter", where=str(path))
    names = {tensor.name for tensor in reader.tensors}
    whole = {name[:-7] for name in names if name.endswith(".lora_a") and f"{name[:-7]}.lora_b" in names}
    # Pairs of single experts are stacked into one.
    expected = len({_EXPERT.sub(".experts.", module.name) for module in run.modules})
    if len(names) != 2 * len(whole) or len(whole) < expected:
        raise ToolFailed(
            "llama.cpp's own converter left out a part of the adapter",
            where=f"{len(run.modules)} pairs in the run, {len(whole)} whole pairs and {len(names)} tensors in GGUF",
            hint="train without the modules of other modalities (vision, audio), or merge with PEFT (merge_and_unload)",
        )
    return len(whole)
