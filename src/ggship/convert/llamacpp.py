"""The vendored llama.cpp converter, in a subprocess, for every architecture that the native one does not know."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ggship.bases.fit import check_fit
from ggship.bases.model import Base
from ggship.convert.checks import check_adapter_file, is_trained
from ggship.convert.plain import needs_plain_copy, write_plain_copy
from ggship.convert.vendored import need_hf, script_environment, vendor_release, vendored_llama_cpp
from ggship.errors import BaseNotFound, ToolFailed
from ggship.runner import Completed, Runner
from ggship.runs.model import Run

SCRIPT = "convert_lora_to_gguf.py"
TIMEOUT_SECONDS = 1800.0


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
    Raises MissingExtra without ggship[hf], BaseNotFound without a config.json, BaseMismatch where the adapter does not
    fit, ToolFailed with the script's last lines.
    """
    need_hf(f"converting an adapter for {base.architecture} with llama.cpp's own converter")
    if base.config_dir is None:
        raise BaseNotFound(
            "llama.cpp's own converter needs the base's config.json, and only its GGUF is at hand",
            where=base.ref,
            hint="--base DIR with config.json and the tokenizer's files; the weights need not be there",
        )
    check_fit(run, base)  # the script never looks at shapes
    script = vendored_llama_cpp(vendor) / SCRIPT
    trained = is_trained(run)
    with _plain(run) as folder:
        argv = [sys.executable, str(script), "--base", str(base.config_dir.resolve()), "--outtype", outtype]
        done = runner([*argv, "--outfile", str(out), str(folder)], env=script_environment(), timeout=TIMEOUT_SECONDS)
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


def _failed(done: Completed, log: Path) -> ToolFailed:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.output, encoding="utf-8")
    how = f"with status {done.returncode}" if done.returncode else "without a file"
    return ToolFailed(
        f"llama.cpp's own converter ended {how}",
        where=f"{done.tail()}\nall of it: {log}",
        hint="if it does not know this architecture, merge with PEFT (merge_and_unload) and ship the merged model",
    )
