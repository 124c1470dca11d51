"""`ggship verify`: recompute every digest and law of a package."""

from __future__ import annotations

import click

from ggship.cli.options import json_option
from ggship.cli.terminal import Terminal


@click.command()
@click.argument("package", metavar="PACKAGE|NAME")
@json_option
@click.pass_obj
def verify(terminal: Terminal, package: str) -> None:
    """Recompute every digest and law of PACKAGE; 0 only if all hold."""
    from ggship.card import human_size
    from ggship.releases import load_package
    from ggship.verify import verify_package

    info = load_package(package)
    verified = verify_package(info)
    if terminal.as_json:
        terminal.document(
            {"name": info.name, "files": verified.files, "bytes": verified.bytes, "laws": list(verified.laws)}
        )
        return
    for law in verified.laws:
        terminal.say(f"✓ {law}")
    terminal.say(f"\n{info.path}: {verified.files} files, {human_size(verified.bytes)}, all as they were made.")
