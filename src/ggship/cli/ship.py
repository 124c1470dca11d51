"""`ggship ship`: the whole way of ggship.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ggship.cli.options import json_option
from ggship.cli.project import file_option, run_step, title
from ggship.cli.terminal import Terminal


@click.command()
@file_option
@json_option
@click.pass_context
def ship(context: click.Context, file: Path) -> None:
    """Do all that ggship.yaml says: package the run, publish it, lead the gateways to it.

    Each part is the command of that name, and stops the way where it fails: nothing is published, and no gateway led
    anywhere, unless the proof holds. Doing it again does what is missing, and nothing where nothing changed.

    \b
    ggship init ./lora-out
    ggship plan
    ggship ship
    """
    from ggship.project import read_project

    terminal: Terminal = context.obj
    project = read_project(file)
    done: list[dict[str, Any]] = []
    for step in project.steps():
        title(terminal, step)
        with terminal.collected() as documents:
            run_step(context, step)
        command = " ".join(step.command)
        done += [{"command": command, "subject": step.subject, "result": document} for document in documents]
    if terminal.as_json:
        terminal.document({"name": project.name, "steps": done})
        return
    where = [*(target.to for target in project.publish), *(step.subject for step in project.routing())]
    terminal.say(f"\n{project.name} is shipped{': ' + ', '.join(where) if where else ''}.", style="bold green")
