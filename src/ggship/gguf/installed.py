"""Which quantizers this machine has, told without loading one: for the key of a stage that may have nothing to do."""

from __future__ import annotations

import hashlib
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

_NAMES = ("libggml-base.so", "libggml-base.so.0", "libggml-base.dylib")


def kernels_identity() -> str:
    """What decides the bytes that `best_kernels` writes: equal identities, equal bytes. Imports nothing heavy."""
    compiled = compiled_kernels()
    parts = (_package("libgguf") or _package("gguf"), _file(find_library()), compiled.stem if compiled else "")
    return " and ".join(part for part in parts if part)


def compiled_kernels() -> Path | None:
    """The library that scripts/build-kernels made of the kernels.c that lies here; None where there is none.

    GGSHIP_PURE_PYTHON=1 says that there is none: to see whether Python and libgguf give the same.
    """
    if os.environ.get("GGSHIP_PURE_PYTHON", "0") not in ("", "0"):
        return None
    source = Path(__file__).with_name("kernels.c")
    try:
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
    library = source.with_name(f"kernels-{digest[:12]}.so")
    return library if library.is_file() else None


def find_library() -> Path | None:
    """libggml-base of the llama.cpp that the user has, or None."""
    named = os.environ.get("LLAMA_CPP_DIR")
    program = shutil.which("llama-quantize")
    folders = [Path(named)] if named else []
    if program:
        here = Path(program).resolve().parent
        folders += [here, here.parent / "lib"]
    for folder in folders:
        for name in _NAMES:
            if (folder / name).is_file():
                return folder / name
    return None


def _package(name: str) -> str:
    """The package and its version; "" where it is not installed."""
    if find_spec(name) is None:
        return ""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


def _file(path: Path | None) -> str:
    if path is None:
        return ""
    real = path.resolve()
    stat = real.stat()
    return f"{real} ({stat.st_size} bytes, {stat.st_mtime_ns})"
