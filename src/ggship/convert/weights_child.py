"""Run llama.cpp's convert_hf_to_gguf.py for the weights alone: the file that comes of it has no vocabulary.

`python -m ggship.convert.weights_child SCRIPT ARGUMENTS...`. The merged weights go into the base's own GGUF file, which
has a vocabulary; the script would stop at a tokenizer that is not there, or that it does not know.
"""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    """The script, with the one method of its classes replaced that writes a vocabulary."""
    script = Path(sys.argv[1])
    sys.path[:0] = [str(script.parent), str(script.parent / "gguf-py")]
    conversion: Any = import_module("conversion")

    find = conversion.get_model_class
    conversion.get_model_class = lambda *arguments, **options: _without_vocabulary(find(*arguments, **options))
    sys.argv = sys.argv[1:]
    runpy.run_path(str(script), run_name="__main__")


def _without_vocabulary(model: Any) -> Any:
    methods = {"set_vocab": lambda self: self.gguf_writer.add_tokenizer_model("none"), "model_arch": model.model_arch}
    return type(model.__name__, (model,), methods)


if __name__ == "__main__":
    main()
