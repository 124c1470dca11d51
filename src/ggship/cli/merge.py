"""`ggship merge`: what training gave into a base GGUF, quantized in the same pass."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from ggship.cli.options import (
    allow_pickle_option,
    base_option,
    dry_run_option,
    force_option,
    host_option,
    json_option,
    pull_option,
    runs_argument,
    scale_option,
    strict_option,
)
from ggship.cli.terminal import Steps, Terminal, warn_of
from ggship.errors import UsageError

if TYPE_CHECKING:
    from ggship.bases import Base
    from ggship.bases.fingerprint import Fingerprint
    from ggship.gguf.merge import MergeReport
    from ggship.preflight import Preflight
    from ggship.runs import Run
    from ggship.runs.several import RunRef
    from ggship.stages.base_file import BaseFile

MAGIC = b"GGUF"


@click.command()
@runs_argument
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The GGUF file to write.")
@scale_option
@base_option
@click.option("--quant", metavar="TYPE", help="F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M ... (default: the base's types).")
@host_option
@pull_option
@force_option
@allow_pickle_option
@strict_option
@dry_run_option
@json_option
@click.pass_obj
def merge(
    terminal: Terminal,
    runs: tuple[RunRef, ...],
    out: Path,
    scale: float,
    base: str | None,
    quant: str | None,
    host: str | None,
    pull: bool,
    force: bool,
    allow_pickle: bool,
    strict: bool,
    dry_run: bool,
) -> None:
    """Merge what RUN trained into its base; of several runs of one base, their sum.

    RUN is a training run of any method, or one adapter in GGUF. Touched tensors of a quantized base become Q8_0,
    whatever --quant says: on its own grid the update would round away.
    """
    from ggship.bases import find_base
    from ggship.bases.fingerprint import fingerprint
    from ggship.cli.summary import show_needs
    from ggship.digests import DigestCache
    from ggship.gguf.mix import parse_quant
    from ggship.runner import run_subprocess
    from ggship.runs.findings import findings
    from ggship.runtimes.holding import holding_for
    from ggship.stages.base_file import BaseFile

    quant = parse_quant(quant) if quant else None
    run = runs[0].path
    trained = _trained(runs, scale, base, allow_pickle)
    found = find_base(trained, base, ollama=holding_for(base, host), pull=pull)
    seen = fingerprint(trained, found) if trained is not None else None
    if trained is not None:
        warn_of(terminal, findings(trained, found, seen=seen), strict=strict)
    needs = _needs(run, trained, found, seen, out, quant)
    if dry_run:
        show_needs(terminal, needs, found, trained)
        return
    needs.require()
    with terminal.steps() as steps:
        weights = BaseFile(found, DigestCache(), run_subprocess)
        if trained is None:
            made = _of_adapter(run, weights.source(steps), out, steps, quant, force)
            report, told = made, {"route": "pairs", "by": "ggship"}
        else:
            report, told = _of_run(trained, found, weights, out, steps, quant, force)
    if terminal.as_json:
        terminal.document({"path": str(out), "base": found.ref, **told, **asdict(report)})
        return
    stored = ", ".join(sorted({tensor.to_type for tensor in report.tensors}))
    what = "pairs" if told["route"] == "pairs" else "tensors"
    rows = [
        ("wrote", f"{out} ({report.bytes / 1e6:.1f} MB)"),
        ("merged", f"{report.merged} of {report.pairs} {what}, stored as {stored}"),
        ("update left", f"{report.survival:.1%} after quantization"),
        ("base", f"{found.ref} ({found.found})"),
    ]
    if told["by"] != "ggship":
        rows.append(("merged by", told["by"]))
    terminal.lines(rows)
    terminal.say("next: ggship package proves it and makes it live")


def _trained(runs: tuple[RunRef, ...], scale: float, base: str | None, allow_pickle: bool) -> Run | None:
    """The run, or the blend of several; None for an adapter in GGUF."""
    from ggship.runs.several import RunRef, read_runs

    files = [ref.path for ref in runs if _is_gguf(ref.path)]
    if not files:
        return read_runs(runs, scale=scale, allow_pickle=allow_pickle, base_named=base is not None, template_named=True)
    if runs != (RunRef(files[0]),) or scale != 1.0:
        raise UsageError(
            "an adapter in GGUF is merged alone and as it is",
            where=str(files[0]),
            hint="name the runs that training wrote: they can be added up and scaled",
        )
    return None


def _needs(
    run: Path, trained: Run | None, base: Base, seen: Fingerprint | None, out: Path, quant: str | None
) -> Preflight:
    from ggship.preflight import of_merge

    if trained is None or seen is None:
        from ggship.gguf.adapter import read_adapter

        return of_merge(None, base, list(read_adapter(run).pairs), out, quant)
    from ggship.bases import check_fit
    from ggship.bases.fingerprint import require_possible
    from ggship.convert.routes import route_of

    require_possible(seen, base)
    touched = check_fit(trained, base).targets.values()
    return of_merge(trained, base, set(touched), out, quant, peft=route_of(trained, base).kind == "peft")


def _is_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _of_run(
    run: Run, base: Base, weights: BaseFile, out: Path, steps: Steps, quant: str | None, force: bool
) -> tuple[MergeReport, dict[str, str]]:
    """Merge a run by its own route: (what was done, route and what merged)."""
    from ggship.convert.merging import merge_run
    from ggship.convert.routes import route_of
    from ggship.progress import counting

    route = route_of(run, base)
    # Only PEFT needs a split model in one file.
    found = replace(base, gguf=weights.file(steps) if route.kind == "peft" else weights.source(steps))
    assert found.gguf is not None
    if route.kind != "pairs":
        steps.start(f"Merging into {base.ref} ({route.reason})", unit="tensors")
        done = merge_run(run, found, out, route=route, quant=quant, force=force, on_tensor=counting(steps))
        steps.done(f"{done.report.merged} tensors")
        return done.report, {"route": route.kind, "by": done.by}
    with TemporaryDirectory(prefix="ggship-") as folder:
        adapter = _converted(run, found, Path(folder), out, steps, force)
        return _of_adapter(adapter, found.gguf, out, steps, quant, force), {"route": "pairs", "by": "ggship"}


def _of_adapter(adapter: Path, base: Path, out: Path, steps: Steps, quant: str | None, force: bool) -> MergeReport:
    from ggship.gguf.merge import merge_adapter
    from ggship.progress import counting

    steps.start("Merging into the base", unit="tensors")
    report = merge_adapter(base, adapter, out, quant=quant, force=force, on_tensor=counting(steps))
    steps.done(f"{report.merged} of {report.pairs} pairs")
    return report


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
        log=out.with_name(f"{out.name}.log"),  # `folder` is gone when someone reads the error that names it
        on_tensor=counting(steps),
    )
    steps.done(f"{done.pairs} pairs")
    return adapter
