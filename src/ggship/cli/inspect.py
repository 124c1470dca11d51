"""ggship inspect: what is this run, and what would go wrong?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ggship.cli.options import allow_pickle_option, base_option, host_option, json_option, run_argument, strict_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.bases import Base
    from ggship.runs import Run


@click.command(
    epilog="\b\nExamples:\n  ggship inspect ./lora-out\n  ggship inspect ./lora-out --checkpoint best\n"
    "  ggship inspect ./lora-out --json | jq .modules[0]"
)
@run_argument
@click.option("--checkpoint", metavar="NAME", help="Look at this one: checkpoint-500, 500, best or last.")
@base_option
@host_option
@click.option("--deep", is_flag=True, help="Read the trained numbers too: untrained modules, NaN, Inf.")
@allow_pickle_option
@strict_option
@json_option
@click.pass_obj
def inspect(
    terminal: Terminal,
    run: Path,
    checkpoint: str | None,
    base: str | None,
    host: str | None,
    deep: bool,
    allow_pickle: bool,
    strict: bool,
) -> None:
    """What is this run, and what would go wrong?

    RUN is the directory that training wrote, one of its checkpoints, or a directory that holds only checkpoints.
    Only small files and tensor headers are read. Every finding has a code, which docs/rules.md explains; with --base,
    the run is held against that base too.
    """
    from ggship.runs.describe import describe
    from ggship.runs.findings import findings, refuse_warnings
    from ggship.runs.reading import read_run

    read = read_run(run, checkpoint=checkpoint, allow_pickle=allow_pickle)
    found = findings(read, _base(read, base, host), deep=deep)
    if terminal.as_json:
        terminal.document(describe(read, found))
    else:
        from ggship.cli.inspect_view import show_run

        show_run(read, found)
    if strict:
        refuse_warnings(found)


def _base(run: Run, ref: str | None, host: str | None) -> Base | None:
    """The base that was named; nothing is looked for, so that the answer comes at once."""
    if ref is None:
        return None
    from ggship.bases import find_base
    from ggship.runtimes.holding import holding_for

    return find_base(run, ref, ollama=holding_for(ref, host))
