"""`ggship merge`: adapter into a base GGUF, quantized in the same pass."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from ggship.cli.options import (
    allow_pickle_option,
    base_option,
    force_option,
    host_option,
    json_option,
    pull_option,
    run_argument,
    strict_option,
)
from ggship.cli.terminal import Steps, Terminal, warn_of

if TYPE_CHECKING:
    from ggship.bases import Base
    from ggship.runs import Run

MAGIC = b"GGUF"


@click.command()
@run_argument
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The GGUF file to write.")
@base_option
@click.option("--quant", metavar="TYPE", help="F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M ... (default: the base's types).")
@host_option
@pull_option
@force_option
@allow_pickle_option
@strict_option
@json_option
@click.pass_obj
def merge(
    terminal: Terminal,
    run: Path,
    out: Path,
    base: str | None,
    quant: str | None,
    host: str | None,
    pull: bool,
    force: bool,
    allow_pickle: bool,
    strict: bool,
) -> None:
    """Merge the adapter of RUN into its base.

    RUN is a training run or an adapter in GGUF. Touched tensors of a quantized base become Q8_0, whatever --quant says:
    on its own grid the update would round away.
    """
    from ggship.bases import find_base
    from ggship.digests import DigestCache
    from ggship.gguf.merge import merge_adapter
    from ggship.gguf.mix import parse_quant
    from ggship.progress import counting
    from ggship.runner import run_subprocess
    from ggship.runs import read_run
    from ggship.runs.findings import findings
    from ggship.runtimes.holding import holding_for
    from ggship.stages.base_file import BaseFile

    quant = parse_quant(quant) if quant else None
    trained = None if _is_gguf(run) else read_run(run, allow_pickle=allow_pickle)
    found = find_base(trained, base, ollama=holding_for(base, host), pull=pull)
    if trained is not None:
        warn_of(terminal, findings(trained, found), strict=strict)
    with terminal.steps() as steps, TemporaryDirectory(prefix="ggship-") as folder:
        weights = BaseFile(found, DigestCache(), run_subprocess).file(steps)
        adapter = run if trained is None else _converted(trained, found, Path(folder), out, steps, force)
        steps.start(f"Merging into {found.ref}", unit="tensors")
        report = merge_adapter(weights, adapter, out, quant=quant, force=force, on_tensor=counting(steps))
        steps.done(f"{report.merged} of {report.pairs} pairs")
    if terminal.as_json:
        terminal.document({"path": str(out), "base": found.ref, **asdict(report)})
        return
    stored = ", ".join(sorted({tensor.to_type for tensor in report.tensors}))
    terminal.lines(
        [
            ("wrote", f"{out} ({report.bytes / 1e6:.1f} MB)"),
            ("merged", f"{report.merged} of {report.pairs} pairs, stored as {stored}"),
            ("update left", f"{report.survival:.1%} after quantization"),
            ("base", f"{found.ref} ({found.found})"),
        ]
    )
    terminal.say("next: ggship package proves it and makes it live")


def _is_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _converted(run: Run, base: Base, folder: Path, out: Path, steps: Steps, force: bool) -> Path:
    from ggship.convert import convert_adapter
    from ggship.progress import counting

    adapter = folder / "adapter.gguf"
    steps.start("Converting the adapter", unit="tensors")
    done = convert_adapter(
        run,
        adapter,
        base=base,
        force=force,
        merging=True,
        log=out.with_name(f"{out.name}.log"),  # `folder` is gone when someone reads the error that names it
        on_tensor=counting(steps),
    )
    steps.done(f"{done.pairs} pairs")
    return adapter
