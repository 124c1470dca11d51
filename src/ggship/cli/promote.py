"""`ggship promote`: make a version live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import force_option, host_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.releases.releasing import Released


class VersionNumber(click.types.StringParamType):
    """v3, or 3."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        if isinstance(value, int):
            return value
        digits = str(value).strip().lower().removeprefix("v")
        if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 1_000_000):
            self.fail(f"{value!r} is no version: it is written v3", param, ctx)
        return int(digits)


@click.command()
@click.argument("name")
@click.option("--version", "number", type=VersionNumber(), metavar="vN", help="Which one; without it the newest.")
@force_option
@host_option
@json_option
@click.pass_obj
def promote(terminal: Terminal, name: str, number: int | None, force: bool, host: str | None) -> None:
    """Make a version of NAME live, by a copy on the server itself, and read its digest again.

    \b
    ggship promote law-helper --version v3
    """
    from ggship.releases.opening import open_release
    from ggship.releases.releasing import need_proven, put_live

    with open_release(name, host=host, turn=True, on_wait=terminal.wait_note) as opened:
        for warning in need_proven(opened.history(), number, force=force):
            terminal.warn(warning)
        done = put_live(opened.runtime, opened.public, number)
        show_released(terminal, opened.public, opened.runtime.describe(), done)


def show_released(terminal: Terminal, public: str, where: str, done: Released) -> None:
    """What was done."""
    if terminal.as_json:
        terminal.document(
            {
                "version": 1,
                "name": public,
                "live": {"version": done.version, "digest": done.promotion.digest},
                "before": done.before,
                "changed": done.changed,
            }
        )
        return
    if not done.changed:
        terminal.say(f"v{done.version} of {public} is live already: nothing to do.")
        return
    instead = f", in place of v{done.before}" if done.before else ""
    terminal.say(f"{public} is v{done.version} now{instead}, on {where}.")
    if done.before:
        terminal.say(f"→ ggship rollback {public}   takes it back")
