"""`ggship convert`: adapter to GGUF, nothing else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ggship.cli.options import (
    allow_pickle_option,
    base_option,
    converter_option,
    dry_run_option,
    force_option,
    host_option,
    json_option,
    outtype_option,
    runs_argument,
    scale_option,
    strict_option,
)
from ggship.cli.terminal import Terminal, warn_of

if TYPE_CHECKING:
    from ggship.runs.several import RunRef


@click.command()
@runs_argument
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The GGUF file to write.")
@scale_option
@base_option
@converter_option
@outtype_option
@host_option
@force_option
@allow_pickle_option
@strict_option
@dry_run_option
@json_option
@click.pass_obj
def convert(
    terminal: Terminal,
    runs: tuple[RunRef, ...],
    out: Path,
    scale: float,
    base: str | None,
    converter: str,
    outtype: str,
    host: str | None,
    force: bool,
    allow_pickle: bool,
    strict: bool,
    dry_run: bool,
) -> None:
    """Convert the adapter of RUN to GGUF; several runs of one base become one adapter, their sum.

    The base is needed for its architecture and head counts, not for its weights.
    """
    from ggship.bases import find_base
    from ggship.bases.fingerprint import fingerprint, require_possible
    from ggship.cli.summary import show_needs
    from ggship.convert import choose_converter, convert_adapter
    from ggship.preflight import of_convert
    from ggship.progress import counting
    from ggship.runs.findings import findings
    from ggship.runs.several import read_runs
    from ggship.runtimes.holding import holding_for

    read = read_runs(runs, scale=scale, allow_pickle=allow_pickle, base_named=base is not None, template_named=True)
    found = find_base(read, base, ollama=holding_for(base, host))
    seen = fingerprint(read, found)
    warn_of(terminal, findings(read, found, seen=seen), strict=strict)
    require_possible(seen, found)
    needs = of_convert(read, out, outtype)
    if dry_run:
        show_needs(terminal, needs, found, read)
        return
    needs.require()
    with terminal.steps() as steps:
        chosen, why = choose_converter(read, found, converter)
        steps.start(f"Converting ({chosen}: {why})", 2 * len(read.modules))
        result = convert_adapter(
            read, out, base=found, converter=converter, outtype=outtype, force=force, on_tensor=counting(steps)
        )
        steps.done(f"{result.pairs} pairs")
    if terminal.as_json:
        terminal.document({**asdict(result), "path": str(result.path), "base": found.ref, "converter_reason": why})
        return
    rows = [
        ("wrote", f"{result.path} ({result.bytes / 1e6:.1f} MB)"),
        ("pairs", f"{result.pairs}, {result.outtype}, for a {result.architecture} base"),
        ("base", f"{found.ref} ({found.found})"),
        ("converter", result.converter_version),
    ]
    if result.folded:
        rows.append(("folded", f"the scale of {len(result.folded)} modules is inside B: one alpha could not say it"))
    terminal.lines(rows)
    named = " ".join(f"{ref.path}@{ref.weight:g}" if ref.weight != 1.0 else str(ref.path) for ref in runs)
    terminal.say(f"next: ggship package {named}{f' --scale {scale:g}' if scale != 1.0 else ''} --name NAME")
