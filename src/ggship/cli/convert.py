"""`ggship convert`: adapter to GGUF, nothing else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

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
    run_argument,
    strict_option,
)
from ggship.cli.terminal import Terminal, warn_of


@click.command()
@run_argument
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The GGUF file to write.")
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
    run: Path,
    out: Path,
    base: str | None,
    converter: str,
    outtype: str,
    host: str | None,
    force: bool,
    allow_pickle: bool,
    strict: bool,
    dry_run: bool,
) -> None:
    """Convert the adapter of RUN to GGUF.

    The base is needed for its architecture and head counts, not for its weights.
    """
    from ggship.bases import find_base
    from ggship.bases.fingerprint import fingerprint, require_possible
    from ggship.cli.summary import show_needs
    from ggship.convert import choose_converter, convert_adapter
    from ggship.preflight import of_convert
    from ggship.progress import counting
    from ggship.runs import read_run
    from ggship.runs.findings import findings
    from ggship.runtimes.holding import holding_for

    read = read_run(run, allow_pickle=allow_pickle)
    found = find_base(read, base, ollama=holding_for(base, host))
    warn_of(terminal, findings(read, found), strict=strict)
    require_possible(fingerprint(read, found), found)
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
    terminal.say(f"next: ggship package {run} --name NAME")
