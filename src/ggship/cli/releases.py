"""`ggship releases`: what was live when, what is, and the names of old versions taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import host_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.releases.history import History, Version
    from ggship.releases.opening import OpenRelease
    from ggship.releases.releasing import Pruned

MARKS = {
    "live": "live",
    "before": "before",
    "held": "",
    "gone": "gone",
    "changed": "changed",
    "pruned": "pruned",
}


@click.command()
@click.argument("name")
@click.option("--prune", is_flag=True, help="Take the names of old versions away, never of what is live or was before.")
@click.option(
    "--keep", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="With --prune: the newest N stay."
)
@click.option("--dry-run", is_flag=True, help="With --prune: say what would go.")
@host_option
@json_option
@click.pass_obj
def releases(terminal: Terminal, name: str, prune: bool, keep: int, dry_run: bool, host: str | None) -> None:
    """Versions of NAME: digests, scores, who put them live and when, and what the server really holds.

    \b
    ggship releases law-helper
    ggship releases law-helper --prune --keep 3
    """
    from ggship.errors import UsageError
    from ggship.releases.opening import open_release
    from ggship.releases.releasing import prune as take_away

    if dry_run and not prune:
        raise UsageError("--dry-run is for --prune", hint=f"ggship releases {name} --prune --dry-run")
    with open_release(name, host=host, turn=prune and not dry_run, on_wait=terminal.wait_note) as opened:
        pruned = take_away(opened.runtime, opened.public, keep, dry_run=dry_run) if prune else None
        history = opened.history()
        if terminal.as_json:
            terminal.document(_document(opened, history, pruned, dry_run))
            return
        _show(terminal, opened, history)
        if pruned is not None:
            _show_pruned(terminal, pruned, dry_run)


def _show(terminal: Terminal, opened: OpenRelease, history: History) -> None:
    terminal.say(f"{opened.public} on {opened.runtime.describe()}")
    if history.versions:
        terminal.say()
        terminal.say(f"{'':8}{'':9}{'put live, UTC':18}{'digest':14}score", style="dim")
    for version in reversed(history.versions):
        terminal.say(_line(version))
        gates = version.first.proof.gates
        by = f"by {version.last.who}" + (f", {version.first.proof.held} of {len(gates)} gates held" if gates else "")
        terminal.say(f"{'':17}{by}", style="dim")
    terminal.say()
    rows = [("drift", sentence) for sentence in history.drift]
    if history.torn:
        rows.append(("journal", f"{history.torn} torn lines in {opened.journal.path}"))
    rows += [("elsewhere", _elsewhere(journal.server, journal.acts())) for journal in opened.elsewhere]
    if rows:
        terminal.lines(rows)
        terminal.say()
    if any(version.state == "before" for version in history.versions):
        terminal.say(f"→ ggship rollback {opened.public}")


def _line(version: Version) -> str:
    proof = version.first.proof
    score = proof.score or ("taken in as it was" if version.first.kind == "adopt" else "")
    moment = version.last.at[:16].replace("T", " ")
    return f"v{version.number:<7}{MARKS[version.state]:9}{moment:18}{version.digest[:12]:14}{score}".rstrip()


def _elsewhere(server: str, acts: Sequence[Any]) -> str:
    last = [act for act in acts if act.kind != "prune"][-1:]
    return f"{server}: v{last[0].version} since {last[0].at[:10]}, not asked" if last else f"{server}: nothing"


def _show_pruned(terminal: Terminal, pruned: Pruned, dry_run: bool) -> None:
    names = ", ".join(f"v{number}" for number in pruned.removed) or "nothing"
    terminal.lines(
        [
            ("would go" if dry_run else "pruned", names),
            *(("stays", f"v{number}: {why}") for number, why in pruned.left),
        ]
    )


def _document(opened: OpenRelease, history: History, pruned: Pruned | None, dry_run: bool) -> dict[str, Any]:
    from dataclasses import asdict

    live = history.of_digest(history.live) if history.live else None
    before = history.of_digest(history.before) if history.before else None
    return {
        "version": 1,
        "name": opened.public,
        "server": history.server,
        "live": {"version": live.number if live else None, "digest": history.live or None},
        "before": {"version": before.number if before else None, "digest": history.before or None},
        "versions": [
            {
                "version": version.number,
                "digest": version.digest,
                "state": version.state,
                "first": version.first.at,
                "last": version.last.at,
                "by": version.last.who,
                "proof": asdict(version.first.proof),
            }
            for version in history.versions
        ],
        "acts": [asdict(act) for act in history.acts],
        "drift": list(history.drift),
        "torn": history.torn,
        "elsewhere": [{"server": journal.server, "acts": len(journal.acts())} for journal in opened.elsewhere],
        "pruned": None
        if pruned is None
        else {"dry_run": dry_run, "removed": list(pruned.removed), "left": [list(pair) for pair in pruned.left]},
    }
