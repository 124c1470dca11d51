"""Turn a Hugging Face directory into a 16-bit GGUF file, once: the result is kept in the cache by content."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ggship.bases.from_directory import weight_files
from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.model import Base
from ggship.digests import DigestCache, digest_of
from ggship.errors import BaseNotFound, MissingExtra, Refused, ToolFailed
from ggship.runner import Runner, run_subprocess
from ggship.runs.files import MIB, is_regular, read_object
from ggship.settings import cache_dir

SCRIPT = "convert_hf_to_gguf.py"
TIMEOUT_SECONDS = 4 * 3600.0
_NEEDED = ("torch", "transformers", "safetensors")
_PARTS = ("*.json", "*.jinja", "*.model", "*.txt")


def hf_to_gguf(base_dir: Path, out_cache: Path | None = None, *, runner: Runner = run_subprocess) -> Path:
    """The model in `base_dir` as a GGUF file of 16-bit weights (BF16 where they are BF16, else F16).

    out_cache: where it is kept, the user's cache directory by default. Law: the same content and converter give the
    same file, and it is converted once; two at a time wait for one another.
    Raises BaseNotFound where the weights are not there, Refused where they are quantized for PyTorch, MissingExtra
    without ggship[hf], ToolFailed with the converter's last lines.
    """
    from ggship.convert.vendored import vendor_release, vendored_llama_cpp

    _refuse_quantized(base_dir)
    files = weight_files(base_dir)
    if not files:
        raise BaseNotFound(
            "the base's weights are not there (or not all of them)",
            where=f"{base_dir}: no model.safetensors",
            hint="download them: --base hf:REPO --pull, or pass the same model as a GGUF file",
        )
    if not all(find_spec(name) for name in _NEEDED):
        raise MissingExtra("hf", needed_for="converting a Hugging Face directory to GGUF")
    script = vendored_llama_cpp() / SCRIPT
    folder = out_cache or cache_dir() / "bases"
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{_slug(base_dir)}-{_content_key(base_dir, files, vendor_release())[:16]}.gguf"
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


def _convert(script: Path, base_dir: Path, out: Path, runner: Runner) -> None:
    partial = out.with_name(f"{out.name}.partial")
    # Nothing may be downloaded, and no bytecode lands in the vendored folder. `auto` keeps BF16, and makes F16 of F32.
    ours = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONPYCACHEPREFIX": str(cache_dir() / "pycache")}
    argv = [sys.executable, str(script), "--outtype", "auto", "--outfile", str(partial), str(base_dir.resolve())]
    try:
        done = runner(argv, env={**os.environ, **ours, "PYTHONUTF8": "1"}, timeout=TIMEOUT_SECONDS)
        if done.returncode != 0 or not partial.is_file():
            raise ToolFailed(
                f"llama.cpp's converter could not convert the base (status {done.returncode})",
                where=f"{base_dir}\n{done.tail()}",
                hint="pass the same model as a GGUF file with --base",
            )
        base_from_gguf(partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _refuse_quantized(base_dir: Path) -> None:
    config = read_object(base_dir / "config.json", base_dir.resolve(), 16 * MIB)
    quantized = config.get("quantization_config")
    if isinstance(quantized, dict):
        raise Refused(
            "that copy of the base is quantized for PyTorch and cannot become a GGUF file",
            where=f"{base_dir}: quantization_config ({quantized.get('quant_method', 'unknown')})",
            hint="pass the 16-bit original with --base (Unsloth: the name without -bnb-4bit)",
        )


def _content_key(base_dir: Path, files: tuple[Path, ...], release: str) -> str:
    """Digest of everything that the converter reads, and of the converter."""
    digests = DigestCache()
    small = sorted({path for pattern in _PARTS for path in base_dir.glob(pattern) if is_regular(path)})
    return digest_of({"converter": release, "files": {path.name: _digest(path, digests) for path in (*small, *files)}})


def _digest(path: Path, digests: DigestCache) -> str:
    """The Hugging Face cache names large files by their sha256 already."""
    real = path.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    return digests.sha256(path)


def _slug(base_dir: Path) -> str:
    named = re.search(r"models--([^/]+)/snapshots/", base_dir.resolve().as_posix() + "/")
    name = named[1] if named else base_dir.resolve().name
    return re.sub(r"[^\w.-]+", "-", name)[:60] or "base"
