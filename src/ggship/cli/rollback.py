"""`ggship rollback`: make the version before live again."""

from __future__ import annotations

import click

from ggship.cli.options import host_option, json_option
from ggship.cli.promote import VersionNumber, show_released
from ggship.cli.terminal import Terminal


@click.command()
@click.argument("name")
@click.option("--to", "number", type=VersionNumber(), metavar="vN", help="Which one; without it the one before.")
@host_option
@json_option
@click.pass_obj
def rollback(terminal: Terminal, name: str, number: int | None, host: str | None) -> None:
    """Make the version that was live before live again; once more takes that back.

    The model is on the server still, so this is one copy there: nothing is uploaded, and nobody meets a server without
    a model.

    \b
    ggship rollback law-helper
    ggship rollback law-helper --to v2
    """
    from ggship.releases.opening import open_release
    from ggship.releases.releasing import put_live

    with open_release(name, host=host, turn=True, on_wait=terminal.wait_note) as opened:
        done = put_live(opened.runtime, opened.public, number, kind="rollback")
        show_released(terminal, opened.public, opened.runtime.describe(), done)
