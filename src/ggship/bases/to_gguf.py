"""Turn a Hugging Face directory into a 16-bit GGUF file, once: the result is kept in the cache by content."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ggship.bases import chatglm
from ggship.bases.from_directory import weight_files
from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.model import Base
from ggship.digests import DigestCache, digest_of
from ggship.errors import BaseNotFound, Refused, ToolFailed
from ggship.runner import Runner, run_subprocess
from ggship.runs.files import MIB, is_regular, read_object
from ggship.settings import cache_dir

SCRIPT = "convert_hf_to_gguf.py"
TIMEOUT_SECONDS = 4 * 3600.0
_PARTS = ("*.json", "*.jinja", "*.model", "*.txt", "*.py")


def hf_to_gguf(
    base_dir: Path,
    out_cache: Path | None = None,
    *,
    runner: Runner = run_subprocess,
    on_bytes: Callable[[int], None] | None = None,
) -> Path:
    """The model in `base_dir` as a GGUF file of 16-bit weights (BF16 where they are BF16, else F16).

    out_cache: where it is kept, the user's cache directory by default. on_bytes hears how much was read for the key.
    Law: the same content and converter give the same file, and it is converted once; two at a time wait for one
    another. Raises BaseNotFound where the weights are not there, Refused where they are quantized for PyTorch,
    MissingExtra without ggship[hf], ToolFailed with the converter's last lines.
    """
    from ggship.convert.vendored import need_hf, vendored_llama_cpp

    need_convertible(base_dir)
    out = converted_place(base_dir, content_key(base_dir, on_bytes=on_bytes), out_cache)
    if out.is_file():
        return out
    need_hf("converting a Hugging Face directory to GGUF")
    script = vendored_llama_cpp() / SCRIPT
    out.parent.mkdir(parents=True, exist_ok=True)
    from filelock import FileLock

    with FileLock(f"{out}.lock"):
        if not out.is_file():
            _convert(script, base_dir, out, runner)
    return out


def with_weights(base: Base, *, out_cache: Path | None = None, runner: Runner = run_subprocess) -> Base:
    """The same base with its weights in a file: as it is where it has one, else its directory converted once."""
    if base.gguf is not None or base.config_dir is None:
        return base
    file = hf_to_gguf(base.config_dir, out_cache, runner=runner)
    read = base_from_gguf(file, ref=base.ref, found=base.found)
    return replace(
        base,
        gguf=file,
        tensors=read.tensors,
        metadata=read.metadata,
        architecture=read.architecture,
        chat_template=base.chat_template or read.chat_template,
    )


def need_convertible(base_dir: Path) -> None:
    """Raise Refused or BaseNotFound unless the directory holds weights that can become a GGUF file."""
    config = read_object(base_dir / "config.json", base_dir.resolve(), 16 * MIB)
    quantized = config.get("quantization_config")
    if isinstance(quantized, dict):
        raise Refused(
            "that copy of the base is quantized for PyTorch and cannot become a GGUF file",
            where=f"{base_dir}: quantization_config ({quantized.get('quant_method', 'unknown')})",
            hint="pass the 16-bit original with --base (Unsloth: the name without -bnb-4bit)",
        )
    if not weight_files(base_dir):
        raise BaseNotFound(
            "the base's weights are not there (or not all of them)",
            where=f"{base_dir}: no model.safetensors",
            hint="download them: --base hf:REPO --pull, or pass the same model as a GGUF file",
        )


def content_key(base_dir: Path, *, on_bytes: Callable[[int], None] | None = None) -> str:
    """Digest of everything in the directory that the converter reads, and of the converter: equal keys, equal files."""
    from ggship.convert.vendored import vendor_release

    digests = DigestCache()
    files = weight_files(base_dir)
    small = sorted({path for pattern in _PARTS for path in base_dir.glob(pattern) if is_regular(path)})
    found = {path.name: _digest(path, digests, on_bytes) for path in (*small, *files)}
    changes = {"changes": chatglm.CHANGES} if is_chatglm3(base_dir) else {}
    return digest_of({"converter": vendor_release(), "files": found, **changes})


def converted_place(base_dir: Path, key: str, out_cache: Path | None = None) -> Path:
    """Where the file of that key lies, or will."""
    return (out_cache or cache_dir() / "bases") / f"{slug(base_dir)}-{key[:16]}.gguf"


def joined(first: Path, out: Path, *, on_tensor: Callable[[int, int], None] | None = None) -> Path:
    """The parts of a split model as one file, made once; two at a time wait for one another."""
    from filelock import FileLock

    from ggship.gguf.copy import copy_model
    from ggship.gguf.parts import read_model

    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{out}.lock"):
        if not out.is_file():
            copy_model(read_model(first), out, on_tensor=on_tensor)
    return out


def _convert(script: Path, base_dir: Path, out: Path, runner: Runner) -> None:
    if not is_chatglm3(base_dir):
        partial = out.with_name(f"{out.name}.partial")
        with _made(script, base_dir, partial, runner):
            partial.replace(out)
        return
    from ggship.gguf.copy import copy_model
    from ggship.gguf.reader import read_gguf

    with tempfile.TemporaryDirectory(prefix=f".{out.stem}.", dir=out.parent) as scratch:
        folder = chatglm.patched_copy(base_dir, Path(scratch) / slug(base_dir))
        with _made(script, folder, Path(scratch) / "converted.gguf", runner) as file:
            copy_model(read_gguf(file), out, chatglm.end_of_turn(file))


@contextmanager
def _made(script: Path, base_dir: Path, file: Path, runner: Runner) -> Iterator[Path]:
    """The file, as the converter makes it, checked; removed at the end where it still is there."""
    from ggship.convert.vendored import script_environment

    # `auto` keeps BF16, and makes F16 of F32.
    argv = [sys.executable, str(script), "--outtype", "auto", "--outfile", str(file), str(base_dir.resolve())]
    try:
        done = runner(argv, env=script_environment(), timeout=TIMEOUT_SECONDS)
        if done.returncode != 0 or not file.is_file():
            raise ToolFailed(
                f"llama.cpp's converter could not convert the base (status {done.returncode})",
                where=f"{base_dir}\n{done.tail()}",
                hint="pass the same model as a GGUF file with --base",
            )
        base_from_gguf(file)
        yield file
    finally:
        file.unlink(missing_ok=True)


def is_chatglm3(base_dir: Path) -> bool:
    """Whether the folder must be patched first: then the file is written twice."""
    return chatglm.is_chatglm3(base_dir, read_object(base_dir / "config.json", base_dir.resolve(), 16 * MIB))


def _digest(path: Path, digests: DigestCache, on_bytes: Callable[[int], None] | None) -> str:
    """The Hugging Face cache names large files by their sha256 already."""
    real = path.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    return digests.sha256(path, on_bytes)


def slug(base_dir: Path) -> str:
    """What the names of its files in the cache begin with."""
    named = re.search(r"models--([^/]+)/snapshots/", base_dir.resolve().as_posix() + "/")
    name = named[1] if named else base_dir.resolve().name
    return re.sub(r"[^\w.-]+", "-", name)[:60] or "base"
