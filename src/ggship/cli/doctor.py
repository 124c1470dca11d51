"""`ggship doctor`: what works on this machine, and what is missing."""

from __future__ import annotations

import click

from ggship.cli.options import host_option, json_option
from ggship.cli.terminal import Terminal

_MARKS = {"ok": "✓", "missing": "○", "broken": "✗"}


@click.command()
@host_option
@json_option
@click.pass_obj
def doctor(terminal: Terminal, host: str | None) -> int:
    """What works on this machine, and what is missing?

    Exit code 1 where something that ggship cannot do without is broken; what is only missing is no error.
    """
    from ggship.checkup import checkup

    checks = checkup(host)
    broken = [check for check in checks if check.state == "broken"]
    if terminal.as_json:
        documents = {check.name: check.document() for check in checks}
        terminal.document({"ok": not broken, "vendor": documents["converter"], "checks": list(documents.values())})
        return 1 if broken else 0
    rows: list[tuple[str, str]] = []
    for check in checks:
        rows.append((f"{_MARKS[check.state]} {check.name}", check.found))
        if check.hint:
            rows.append(("", f"→ {check.hint}"))
    terminal.lines(rows)
    terminal.say()
    terminal.say(
        f"{len(broken)} broken: {', '.join(check.name for check in broken)}"
        if broken
        else "Nothing is broken. ggship package RUN --name NAME"
    )
    return 1 if broken else 0
