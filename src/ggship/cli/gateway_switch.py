"""ggship gateway off, on and remove: the degradation switch."""

from __future__ import annotations

from typing import Any

import click

from ggship.cli.gateway_view import (
    journalled,
    lines,
    live_package,
    no_ask_option,
    no_channel,
    note,
    opened,
    package_name,
    row,
    split_version,
    wait_option,
    where_options,
)
from ggship.cli.options import json_option
from ggship.cli.terminal import Terminal


@click.command()
@click.argument("name")
@where_options
@click.option("--to", "to", metavar="MODEL", help="Lead clients to this model of its Ollama instead, or to `base`.")
@click.option("--hard", is_flag=True, help="Park it in a group without users too, so that no test brings it back.")
@wait_option
@json_option
@click.pass_obj
def off(terminal: Terminal, /, name: str, to: str | None, hard: bool, wait: float, **where: Any) -> None:
    """Take NAME off the gateway: its channel is switched off, and clients are seen to get no answer.

    With --to they get another model, mostly the base, and are seen to. NAME is a model's, or its package's folder. The
    channel stays; `ggship gateway on NAME` brings it back.
    """
    from ggship.errors import UsageError
    from ggship.gateways import fall_back
    from ggship.gateways import off as switch_off

    if to and hard:
        raise UsageError("--to keeps the name answered, --hard takes it off: one of them")
    gateway = opened(terminal, where)
    package = split_version(name)[0]
    name = package_name(package)
    model = _base(package, to) if to else ""
    with journalled(gateway, "off", name):
        if to:
            done = fall_back(gateway, name, model, wait_seconds=wait, on_step=note(terminal))
        else:
            done = switch_off(gateway, name, hard=hard, wait_seconds=wait, on_step=note(terminal))
    if done.channel is None:
        raise no_channel(name, gateway)
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        rest = {"changed": done.changed, "probe": done.probe, "still": done.still, "also": done.also}
        terminal.document({"channel": row(done.channel), **rest})
        return
    state = f"leads to {done.channel.model}" if to else "switched off" if done.changed else "was off already"
    also = [("also off", ", ".join(f"channel {number}" for number in done.also))] if done.also else []
    terminal.lines([(name, f"channel {done.channel.id} {state}"), *also, ("clients get", done.probe or "(not asked)")])


@click.command()
@click.argument("name")
@where_options
@no_ask_option
@wait_option
@json_option
@click.pass_obj
def on(terminal: Terminal, /, name: str, no_ask: bool, wait: float, **where: Any) -> None:
    """Bring back what `off` took away: tested first, then switched on, then asked as a client does."""
    from dataclasses import asdict

    from ggship.gateways import on as switch_on

    gateway = opened(terminal, where)
    name = package_name(split_version(name)[0])
    with journalled(gateway, "on", name):
        done = switch_on(gateway, name, ask=not no_ask, wait_seconds=wait, on_step=note(terminal))
    if done.channel is None:
        raise no_channel(name, gateway)
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        said = asdict(done.said) if done.said else None
        terminal.document({"channel": row(done.channel), "changed": done.changed, "said": said})
        return
    state = "switched on" if done.changed else "was on already"
    answer = done.said.text.strip() if done.said else "(not asked)"
    terminal.lines([(name, f"channel {done.channel.id} {state}"), *lines(done.channel), ("answer", answer)])


@click.command()
@click.argument("name")
@where_options
@wait_option
@json_option
@click.pass_obj
def remove(terminal: Terminal, /, name: str, wait: float, **where: Any) -> None:
    """Take every channel of NAME away, and see that clients get no answer. `rollback` makes them again."""
    from ggship.gateways import remove as remove_all

    gateway = opened(terminal, where)
    name = package_name(split_version(name)[0])
    with journalled(gateway, "remove", name):
        done = remove_all(gateway, name, wait_seconds=wait, on_step=note(terminal))
    if not done.channels:
        raise no_channel(name, gateway)
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        terminal.document({"removed": list(done.channels), "probe": done.probe})
        return
    gone = ", ".join(f"channel {number}" for number in done.channels)
    terminal.lines([(name, f"{gone} removed"), ("clients get", done.probe or "(not asked)")])


def _base(name: str, to: str) -> str:
    """The model to fall back to; `base` means the one that the package was made of, as Ollama calls it."""
    if to != "base":
        return to
    from ggship.errors import UsageError

    info = live_package(name)
    base = info.document["base"].get("ollama") if info else None
    if not base:
        raise UsageError(
            "the package does not say what its base is called at Ollama",
            where=name,
            hint="--to MODEL, as `ollama list` has it",
        )
    return str(base)
