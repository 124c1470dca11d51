"""Pickled weights: refused, or read as tensors alone where the user allows it."""

from __future__ import annotations

import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from ggship.errors import BadFile, MissingExtra, Refused, ToolFailed
from ggship.runs.files import MIB, is_regular, refuse_leaving

PICKLES = ("adapter_model.bin", "adapter_model.pt")
_TIMEOUT_SECONDS = 900.0
_WRONG = 3


def pickle_in(directory: Path) -> str:
    """The name of the directory's file of pickled weights, "" where it has none."""
    return next((name for name in PICKLES if is_regular(directory / name)), "")


def refuse_pickle(directory: Path, name: str) -> NoReturn:
    """Raise Refused, with what to do instead."""
    raise Refused(
        f"the weights are pickled ({name}); reading them would run code that the file brings along",
        where=str(directory / name),
        hint=_resave_hint(directory, name),
        rule="GS001",
    )


def unpickled(directory: Path, name: str, root: Path) -> Path:
    """The tensors of a pickled file as safetensors, in the cache; written once for each content.

    torch.load(weights_only=True) reads them, in a process of its own: no code from the file is run. Raises MissingExtra
    without ggship[hf], BadFile where the file holds anything but tensors.
    """
    from ggship.digests import sha256_file
    from ggship.isolation import child_environment
    from ggship.runner import run_subprocess
    from ggship.settings import cache_dir

    file = directory / name
    refuse_leaving(file, root)
    _refuse_bomb(file)
    home = cache_dir() / "unpickled" / sha256_file(file)
    out = home / "adapter_model.safetensors"
    if out.is_file():
        return out
    if find_spec("torch") is None:
        raise MissingExtra("hf", needed_for="reading pickled weights")
    home.mkdir(parents=True, exist_ok=True)
    partial = home / "adapter_model.partial"
    argv = [sys.executable, "-m", "ggship.runs.unpickle_child", str(file.resolve()), str(partial.resolve())]
    try:
        done = run_subprocess(argv, cwd=home, env=child_environment(), timeout=_TIMEOUT_SECONDS)
        if done.returncode == _WRONG:
            raise BadFile(
                f"{name} holds more than tensors, or is damaged",
                where=f"{file}: {done.tail(1)}",
                hint="save the adapter again with safe_serialization=True, where it was trained",
                rule="GS001",
            )
        if done.returncode or not partial.is_file():
            raise ToolFailed(f"{name} could not be read", where=done.tail(), hint="save it again as safetensors")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _refuse_bomb(file: Path) -> None:
    """torch.save compresses nothing: an archive that would grow is none that it wrote."""
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return  # an older format, or damage: the loader tells
    if size > file.stat().st_size + MIB:
        raise BadFile(
            f"{file.name} is compressed, as torch.save never does",
            where=f"{file}: {size:,} bytes in {file.stat().st_size:,}",
            hint="save the adapter again with safe_serialization=True, where it was trained",
            rule="GS001",
        )


def _resave_hint(directory: Path, name: str) -> str:
    if name.endswith(".pt"):
        return "let torchtune save in PEFT's layout: checkpointer.safe_serialization: True, then take its last epoch_N"
    import shlex

    script = (
        "import sys, torch, safetensors.torch as s; d = sys.argv[1] + '/adapter_model'; "
        "w = torch.load(d + '.bin', weights_only=True, map_location='cpu'); "
        "s.save_file(dict((k, v.contiguous()) for k, v in w.items()), d + '.safetensors')"
    )
    where = shlex.quote(str(directory))
    return (
        "--allow-pickle reads nothing but tensors from them; "
        f'or save them as safetensors, without running any code in them:\npython -c "{script}" {where}'
    )
