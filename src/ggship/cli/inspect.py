"""ggship inspect: what is this run, and what would go wrong?"""

from __future__ import annotations

from pathlib import Path

import click

from ggship.cli.options import json_option, run_argument
from ggship.cli.terminal import Terminal


@click.command(
    epilog="\b\nExamples:\n  ggship inspect ./lora-out\n  ggship inspect ./lora-out --checkpoint best\n"
    "  ggship inspect ./lora-out --json | jq .modules[0]"
)
@run_argument
@click.option("--checkpoint", metavar="NAME", help="Look at this one: checkpoint-500, 500, best or last.")
@json_option
@click.pass_obj
def inspect(terminal: Terminal, run: Path, checkpoint: str | None) -> None:
    """What is this run, and what would go wrong?

    RUN is the directory that training wrote, one of its checkpoints, or a directory that holds only checkpoints.
    Only small files and tensor headers are read.
    """
    from ggship.runs.describe import describe
    from ggship.runs.reading import read_run

    found = read_run(run, checkpoint=checkpoint)
    if terminal.as_json:
        terminal.document(describe(found))
        return
    from ggship.cli.inspect_view import show_run

    show_run(found)
