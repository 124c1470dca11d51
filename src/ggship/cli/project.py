"""What the commands around ggship.yaml share: the file, and other commands run as if they had been typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.project import Step

file_option = click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path),
    default=Path("ggship.yaml"),
    show_default=True,
    help="The project's file, or its folder.",
)


def run_step(context: click.Context, step: Step, *more: str) -> Any:
    """Run the command of a step, with its environment variables and its errors; gives what it returns."""
    parent = context.find_root()
    command: click.Command = parent.command
    for name in step.command:
        assert isinstance(command, click.Group)
        found = command.get_command(parent, name)
        assert found is not None
        if isinstance(found, click.Group):
            parent = click.Context(found, parent=parent, info_name=name, obj=parent.obj)
        command = found
    with command.make_context(step.command[-1], [*step.arguments, *more], parent=parent) as inner:
        return command.invoke(inner)


def title(terminal: Terminal, step: Step) -> None:
    """Which command begins, on stderr."""
    terminal.note(f"==> ggship {' '.join(step.command)}: {step.subject}")
