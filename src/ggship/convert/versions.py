"""What a conversion's bytes depend on besides tensors and base: told without importing a converter."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ggship import __version__
from ggship.convert.vendored import vendor_release

METADATA_FILES = ("README.md", "generation_config.json", "config.json")
"""Files of the adapter's folder that its metadata is read from, as llama.cpp's converter does; so is its name."""


def native_version() -> str:
    """Our converter: our version, and that of gguf, which writes the metadata."""
    return f"ggship {__version__}, gguf {version('gguf')}"


def converter_version(converter: str) -> str:
    """The version of `native` or `llamacpp`, in words."""
    return native_version() if converter == "native" else vendor_release()


def merger_version(kind: str) -> str:
    """What a merge's bytes depend on besides run and base, by the kind of its route: our version, or PEFT's as well."""
    if kind != "peft":
        return f"ggship {__version__}"
    return (
        ", ".join(f"{name} {_installed(name)}" for name in ("peft", "transformers", "torch")) + f", {vendor_release()}"
    )


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def metadata_files(folder: Path) -> tuple[Path, ...]:
    """Those of `METADATA_FILES` that are there."""
    return tuple(folder / name for name in METADATA_FILES if (folder / name).is_file())
