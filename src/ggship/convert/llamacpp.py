"""The vendored llama.cpp converter, in a subprocess, for every architecture that the native one does not know."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ggship.bases.model import Base
from ggship.convert.checks import check_adapter_file, is_trained
from ggship.convert.plain import needs_plain_copy, write_plain_copy
from ggship.convert.vendored import vendor_release, vendored_llama_cpp
from ggship.errors import BaseNotFound, MissingExtra, ToolFailed
from ggship.runner import Completed, Runner
from ggship.runs.model import Run
from ggship.settings import cache_dir

SCRIPT = "convert_lora_to_gguf.py"
TIMEOUT_SECONDS = 1800.0
_NEEDED = ("torch", "transformers", "safetensors")


def convert_with_llamacpp(
    run: Run,
    out: Path,
    *,
    base: Base,
    outtype: str,
    runner: Runner,
    log: Path,
    on_tensor: Callable[[int, int], None] | None = None,
    vendor: Path | None = None,
) -> tuple[bool, int, str]:
    """Run the script on the run and check what it wrote: (whether the adapter was trained, pairs, release).

    A run that the script would get wrong, or not read (rsLoRA, alpha patterns, names of raw dumps, several files), is
    handed to it as a plain copy, with scales folded into B. Where the script fails, its whole output is kept in `log`.
    Raises MissingExtra without ggship[hf], BaseNotFound without a config.json, ToolFailed with the script's last lines.
    """
    if not all(find_spec(name) for name in _NEEDED):
        raise MissingExtra(
            "hf", needed_for=f"converting an adapter for {base.architecture} with llama.cpp's own converter"
        )
    if base.config_dir is None:
        raise BaseNotFound(
            "llama.cpp's own converter needs the base's config.json, and only its GGUF is at hand",
            where=base.ref,
            hint="--base DIR with config.json and the tokenizer's files; the weights need not be there",
        )
    script = vendored_llama_cpp(vendor) / SCRIPT
    trained = is_trained(run)
    with _plain(run) as folder:
        argv = [sys.executable, str(script), "--base", str(base.config_dir.resolve()), "--outtype", outtype]
        done = runner([*argv, "--outfile", str(out), str(folder)], env=_environment(), timeout=TIMEOUT_SECONDS)
    if done.returncode != 0 or not out.is_file():
        raise _failed(done, log)
    log.unlink(missing_ok=True)
    pairs = check_adapter_file(out, run)
    if on_tensor:
        on_tensor(2 * pairs, 2 * pairs)
    return trained, pairs, vendor_release(vendor)


@contextmanager
def _plain(run: Run) -> Iterator[Path]:
    if not needs_plain_copy(run):
        yield run.path.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="ggship-") as scratch:
        # The script names the adapter after its folder.
        folder = Path(scratch) / run.path.resolve().name
        write_plain_copy(run, folder)
        yield folder


def _environment() -> Mapping[str, str]:
    # Everything it needs is at hand: nothing may be downloaded. Its bytecode must not land in the vendored folder.
    ours = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONPYCACHEPREFIX": str(cache_dir() / "pycache")}
    return {**os.environ, **ours, "PYTHONUTF8": "1"}


def _failed(done: Completed, log: Path) -> ToolFailed:
    log.write_text(done.output, encoding="utf-8")
    how = f"with status {done.returncode}" if done.returncode else "without a file"
    return ToolFailed(
        f"llama.cpp's own converter ended {how}",
        where=f"{done.tail()}\nall of it: {log}",
        hint="if it does not know this architecture, merge with PEFT (merge_and_unload) and ship the merged model",
    )
