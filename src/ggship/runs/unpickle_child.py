"""Run as a program: PICKLE OUT. Writes the tensors of a pickled adapter as safetensors; reads nothing but tensors.

In a process of its own: torch takes seconds to import, and whatever a hostile file does to it stays there.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(pickle: Path, out: Path) -> str:
    """What is wrong with the file, or "" where it was written."""
    import torch
    from safetensors.torch import save_file

    try:
        loaded = torch.load(pickle, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind: the unpickler meets what the file says
        return str(error).split("\n", 1)[0][:200] or type(error).__name__
    if not isinstance(loaded, dict) or not loaded:
        return f"it holds {type(loaded).__name__}, not tensors by name"
    odd = [name for name, value in loaded.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))]
    if odd:
        return f"{odd[0]!s:.80} is no tensor"
    # Tensors that share their memory, as tied ones do, are written twice: safetensors has no word for it.
    save_file({name: value.detach().clone().contiguous() for name, value in loaded.items()}, out, {"format": "pt"})
    return ""


if __name__ == "__main__":
    problem = main(Path(sys.argv[1]), Path(sys.argv[2]))
    if problem:
        print(problem)
        sys.exit(3)
