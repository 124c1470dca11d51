"""Where ggship keeps what it remembers, and where its own data files are."""

from __future__ import annotations

import os
from pathlib import Path

_HERE = Path(__file__).parent


def state_dir() -> Path:
    """The user's state directory: $GGSHIP_STATE_DIR, else what the platform says."""
    override = os.environ.get("GGSHIP_STATE_DIR")
    if override:
        return Path(override).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("ggship", appauthor=False))


def cache_dir() -> Path:
    """The user's cache directory: $GGSHIP_CACHE_DIR, else what the platform says. Safe to delete."""
    override = os.environ.get("GGSHIP_CACHE_DIR")
    if override:
        return Path(override).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ggship", appauthor=False))


def _data(name: str) -> Path:
    """A data folder: inside the wheel, or at the top of the checkout."""
    packed = _HERE / "_data" / name
    return packed if packed.is_dir() else _HERE.parent.parent / name


def templates_dir() -> Path:
    """The folder of what ggship renders: model card, reports, chat-template families."""
    return _data("templates")


def vendor_dir() -> Path:
    """The folder of the vendored llama.cpp converter and its lock."""
    return _data("vendor")


def example_dir() -> Path:
    """The run of the example law-helper; its suite lies beside it."""
    packed = _HERE / "_data" / "example" / "lora-out"
    return packed if packed.is_dir() else _HERE.parent.parent / "examples" / "law-helper" / "lora-out"
