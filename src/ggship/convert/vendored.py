"""Where the vendored llama.cpp converter is, and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ggship.errors import BadFile, MissingExtra, ToolFailed
from ggship.settings import cache_dir, vendor_dir

LOCK_NAME = "llama.cpp.lock.json"
_NEEDED = ("torch", "transformers", "safetensors")


@dataclass(frozen=True, slots=True)
class VendorStatus:
    """What `ggship doctor` says of the vendored converter.

    present: the folder is there. whole: every file is there with the locked sha256. release: llama.cpp's commit, and
    the source package it came in. bad_files: names of files that are missing or changed.
    """

    present: bool
    whole: bool
    release: str
    bad_files: tuple[str, ...]


def vendored_llama_cpp(vendor: Path | None = None) -> Path:
    """The folder with convert_lora_to_gguf.py. Raises ToolFailed where it is not there."""
    folder = _folder(vendor)
    if not (folder / "convert_lora_to_gguf.py").is_file():
        raise ToolFailed(
            "the vendored llama.cpp converter is not there",
            where=str(folder),
            hint="in a checkout: ./scripts/vendor; else install ggship's wheel again, which carries it",
        )
    return folder


def need_hf(purpose: str) -> None:
    """Raise MissingExtra unless what the converter's scripts import is installed."""
    if not all(find_spec(name) for name in _NEEDED):
        raise MissingExtra("hf", needed_for=purpose)


def script_environment() -> Mapping[str, str]:
    """The environment of the converter's scripts.

    Everything they need is at hand: nothing may be downloaded. Their bytecode must not land in the vendored folder.
    """
    ours = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONPYCACHEPREFIX": str(cache_dir() / "pycache")}
    return {**os.environ, **ours, "PYTHONUTF8": "1"}


def vendor_release(vendor: Path | None = None) -> str:
    """Which llama.cpp the lock names: "llama.cpp 0c1e57098 (llama-cpp-python 0.3.36)"."""
    lock = _lock(vendor)
    return f"{lock['name']} {lock['commit']} ({lock['source']['package']} {lock['source']['version']})"


def vendor_status(vendor: Path | None = None) -> VendorStatus:
    """Hash every vendored file against the lock; some 2 MB, well under a second."""
    folder = _folder(vendor)
    files: dict[str, str] = _lock(vendor)["files"]
    bad = tuple(name for name, digest in files.items() if _sha256(folder / name) != digest)
    return VendorStatus(folder.is_dir(), not bad, vendor_release(vendor), bad)


def _folder(vendor: Path | None) -> Path:
    return (vendor or vendor_dir()) / "llama.cpp"


def _lock(vendor: Path | None) -> dict[str, Any]:
    path = (vendor or vendor_dir()) / LOCK_NAME
    try:
        lock: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(
            "the lock of the vendored converter cannot be read",
            where=f"{path}: {error}",
            hint="install ggship again",
        ) from error
    return lock


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
