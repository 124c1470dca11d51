"""ggship gateway canary, promote and rollback: a new version for some, for all, or for nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ggship.cli.gateway_route import apply_now, prepare, show_applied, version_options
from ggship.cli.gateway_view import (
    journalled,
    lines,
    no_ask_option,
    note,
    opened,
    package_name,
    row,
    split_version,
    wait_option,
    warn_restart,
    where_options,
)
from ggship.cli.options import force_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.gateways import Gateway, Route
    from ggship.gateways.canary import Canary


@click.command()
@click.argument("name", metavar="NAME@VERSION")
@where_options
@version_options
@click.option("--percent", type=float, default=10.0, show_default=True, metavar="P", help="The new version's share.")
@click.option(
    "--measure",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="Count who answers N requests (one word each); 0: do not.",
)
@click.option(
    "--channels",
    type=click.IntRange(min=2, max=200),
    default=20,
    show_default=True,
    help="Equal channels at most, where the gateway heeds no weights.",
)
@no_ask_option
@force_option
@json_option
@click.pass_obj
def canary(
    terminal: Terminal,
    /,
    name: str,
    percent: float,
    measure: int,
    channels: int,
    no_ask: bool,
    force: bool,
    **given: Any,
) -> None:
    """Lead a part of the clients to another version, beside the live one, and count that it is that part.

    One-API heeds no weights: there the share is made of equal channels, 10 % of nine and one. The answers are told
    apart by the channel that the gateway names, else by the model's name in them. Exit code 3 where the count does not
    fit the share.
    """
    from ggship.gateways.canary import start_canary

    gateway, route = prepare(terminal, name, given, force)
    _need_another(gateway, split_version(name)[0], route)
    with journalled(gateway, "canary", route.name):
        done = start_canary(
            gateway,
            route,
            percent,
            most=channels,
            count=0 if no_ask else measure,
            ask=not no_ask,
            on_step=note(terminal),
        )
    for warning in done.warnings:
        terminal.warn(warning)
    _show(terminal, route.name, done)
    _need_fit(gateway.traits.lag, route.name, done)


@click.command()
@click.argument("name")
@where_options
@no_ask_option
@wait_option
@json_option
@click.pass_obj
def promote(terminal: Terminal, /, name: str, no_ask: bool, wait: float, **where: Any) -> None:
    """Lead all clients to the canary's version: the live channel points there, then the others are taken away."""
    from dataclasses import asdict

    from ggship.gateways.canary import promote_canary

    gateway = opened(terminal, where)
    name = package_name(split_version(name)[0])
    with journalled(gateway, "promote", name):
        done = promote_canary(gateway, name, ask=not no_ask, wait_seconds=wait, on_step=note(terminal))
    warn_restart(terminal, gateway, name)
    if terminal.as_json:
        said = asdict(done.said) if done.said else None
        terminal.document({"channel": row(done.channel), "before": done.before, "gone": list(done.gone), "said": said})
        return
    answer = done.said.text.strip() if done.said else "(not asked)"
    before = ("before", f"{done.before}   (ggship gateway rollback {name})")
    terminal.lines([(name, f"channel {done.channel.id}"), *lines(done.channel), before, ("answer", answer)])


@click.command()
@click.argument("name")
@where_options
@click.option("--to", "to", metavar="VERSION", help="Lead clients to this version, whatever was done before.")
@no_ask_option
@wait_option
@force_option
@json_option
@click.pass_obj
def rollback(
    terminal: Terminal, /, name: str, to: str | None, no_ask: bool, wait: float, force: bool, **given: Any
) -> None:
    """Take the last command on NAME back: what the journal says was there before is put there again.

    Again: the command before that. --to VERSION leads clients to a version by its name, and ends a canary.
    """
    from dataclasses import asdict

    from ggship.gateways.journal import Journal
    from ggship.gateways.rollback import last_act
    from ggship.gateways.rollback import rollback as take_back

    package = split_version(name)[0]
    if to:
        _to_version(terminal, package, to, given, ask=not no_ask, wait=wait, force=force)
        return
    name = package_name(package)
    gateway = opened(terminal, given)
    act = last_act(Journal(gateway.url), name)
    with journalled(gateway, "rollback", name, undoes=act.id):
        done = take_back(gateway, act, ask=not no_ask, force=force, wait_seconds=wait, on_step=note(terminal))
    warn_restart(terminal, gateway, name)
    what = f"`{act.command}` of {act.time} taken back"
    if terminal.as_json:
        said = asdict(done.said) if done.said else None
        head = {"undone": {"command": act.command, "time": act.time}, "model": done.model, "said": said}
        terminal.document({**head, "channels": [row(channel) for channel in done.channels]})
        return
    answer = done.said.text.strip() if done.said else "(not asked)"
    terminal.lines([(name, what), ("model", done.model or "(not on the gateway)"), ("answer", answer)])


def _to_version(
    terminal: Terminal, package: str, version: str, given: dict[str, Any], *, ask: bool, wait: float, force: bool
) -> None:
    from ggship.gateways.canary import end_canary

    gateway, route = prepare(terminal, f"{package}@{version}", given, force)
    with journalled(gateway, "rollback --to", route.name):
        end_canary(gateway, route.name, on_step=note(terminal))
    show_applied(terminal, route, apply_now(terminal, gateway, route, ask=ask, wait=wait))


def _need_another(gateway: Gateway, package: str, route: Route) -> None:
    """Refuse a canary of what all clients get: the live channel may lead to a name that the release has moved."""
    import os

    from ggship.gateways.routing import only_ours
    from ggship.gateways.versions import need_another
    from ggship.releases import load_package
    from ggship.runtimes.ollama_api import OllamaClient

    main = only_ours(gateway, gateway.channels(), route.name)
    if main is not None:
        client = OllamaClient(load_package(package).host or os.environ.get("OLLAMA_HOST", ""))
        need_another(client, main.model, route.digest, route.name)


def _show(terminal: Terminal, name: str, done: Canary) -> None:
    from dataclasses import asdict

    counted = done.counted
    if terminal.as_json:
        about = {"share": done.split.share, "split": asdict(done.split), "changed": done.changed}
        measured = {**asdict(counted), "share": counted.share} if counted else None
        terminal.document({**about, "main": row(done.main), "canary": row(done.canary), "measured": measured})
        return
    rows = [
        (name, f"{done.canary.model} beside {done.main.model}" + ("" if done.changed else ", as it was")),
        ("share", f"{done.split.share:.1%} ({done.split.stable} : {done.split.canary})"),
    ]
    if counted:
        rows.append(("measured", f"{counted.canary} of {counted.asked} ({counted.share:.1%}), by {counted.by}"))
        rows.append(("may be", f"{counted.low:.1%} to {counted.high:.1%}, 999 times of 1000"))
    else:
        rows.append(("measured", "(not asked)"))
    terminal.lines(rows)
    terminal.say(f"\n→ ggship gateway promote {name}\n→ ggship gateway rollback {name}")


def _need_fit(lag: int, name: str, done: Canary) -> None:
    from ggship.errors import GateFailed

    if done.counted is None or done.counted.fits(done.split.share):
        return
    others = f", {done.counted.other} by neither" if done.counted.other else ""
    raise GateFailed(
        "the canary runs, and its share is not what was asked for",
        where=f"{done.counted.canary} of {done.counted.asked} answers were its{others}; meant: {done.split.share:.1%}",
        hint=f"ggship gateway rollback {name}   takes it away; a gateway's cache may lag {lag or 60} s",
    )
