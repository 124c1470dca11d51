"""ggship gateway add, status and probe: which gateways there are, what is on them, what clients get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ggship.cli.gateway_view import (
    known,
    lines,
    live_package,
    note,
    opened,
    package_name,
    row,
    split_version,
    upstream_option,
    wait_option,
    where_options,
)
from ggship.cli.options import json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.gateways.ladder import Climbed
    from ggship.runtimes.ollama_api import OllamaClient


@click.command()
@click.argument("name")
@where_options
@upstream_option
@json_option
@click.pass_obj
def add(terminal: Terminal, /, name: str, upstream: str | None, **where: Any) -> None:
    """Remember a gateway as NAME: its address and its kind, which is found out; no secret.

    \b
    ggship gateway add office --url http://127.0.0.1:3000
    ggship gateway add proxy --kind litellm --url http://127.0.0.1:4000 --config litellm/ggship.yaml
    """
    from dataclasses import asdict, replace
    from pathlib import Path

    from ggship.errors import UsageError
    from ggship.gateways.book import add as remember
    from ggship.gateways.secrets import check_address

    if not where["url"]:
        raise UsageError(
            "the gateway's address is missing", hint=f"ggship gateway add {name} --url http://127.0.0.1:3000"
        )
    config = str(Path(where["config"]).expanduser().resolve()) if where["config"] else ""
    found = replace(known({**where, "gateway_name": None}), name=name, config=config)
    check_address(found.url, insecure_http=found.insecure_http)
    if upstream:
        check_address(upstream, insecure_http=True)
    found = replace(found, upstream=upstream or "")
    remember(found)
    if terminal.as_json:
        terminal.document(asdict(found))
        return
    file = [("file", found.config)] if found.config else []
    terminal.lines([(name, f"{found.kind} at {found.url}"), *file])
    terminal.say(f"\n→ export GGSHIP_GATEWAY_TOKEN{found.suffix}_FILE=FILE   (mode 600)")
    terminal.say(f"→ ggship gateway status --gateway {name}")


@click.command()
@where_options
@json_option
@click.pass_obj
def status(terminal: Terminal, /, **where: Any) -> None:
    """What the gateway is, and the channels on it that ggship made. Changes nothing."""
    gateway = opened(terminal, where)
    found = gateway.status()
    ours = [channel for channel in gateway.channels() if channel.mark] if _same(gateway, found.flavour) else []
    if terminal.as_json:
        about = {"flavour": found.flavour, "version": found.version, "system_name": found.system_name}
        terminal.document({**about, "channels": [row(channel) for channel in ours]})
        return
    called = f" ({found.system_name})" if found.system_name else ""
    what = f"{found.flavour} {found.version}".strip()
    terminal.lines([("gateway", f"{what}{called} at {gateway.url}")])
    for channel in ours:
        role = f", {channel.role}" if channel.role != "main" else ""
        terminal.lines([(str(channel.mark.get("name", "")), f"channel {channel.id}{role}"), *lines(channel)])
    if not ours:
        terminal.say("no channel of ggship's")


@click.command()
@click.argument("name", metavar="NAME[@VERSION]")
@where_options
@wait_option
@json_option
@click.pass_obj
def probe(terminal: Terminal, /, name: str, wait: float, **where: Any) -> None:
    """Climb from Ollama to an ordinary client's stream and stop at the first rung that breaks, naming its layer.

    Nothing is changed; the model is asked five short questions.
    """
    from dataclasses import asdict

    from ggship.gateways.ladder import Ladder
    from ggship.gateways.versions import expected_model

    gateway = opened(terminal, where)
    package, version = split_version(name)
    info = live_package(package)
    model, digest = expected_model(info, version) if info else ("", "")
    ollama = _ollama(info.host) if info else None
    if info is None:
        terminal.warn(f"no package {package} on this machine, so its Ollama is not asked")
    climbed = Ladder(gateway, info.name if info else package_name(package), model, ollama, digest).climb(
        wait_seconds=wait, on_step=note(terminal)
    )
    if terminal.as_json:
        broke = {"layer": climbed.layer, "rung": climbed.rung, "error": str(climbed.broke)} if climbed.broke else None
        rungs = [asdict(rung) for rung in climbed.rungs]
        terminal.document({"ok": climbed.broke is None, "rungs": rungs, "broke": broke})
    else:
        _show(terminal, climbed)
    if climbed.broke is not None:
        climbed.broke.message = f"{climbed.layer}: {climbed.rung}: no: {climbed.broke.message}"
        raise climbed.broke


def _show(terminal: Terminal, climbed: Climbed) -> None:
    terminal.lines(
        [
            (f"{'-' if rung.skipped else '✓'} {rung.layer}", f"{rung.name}: {rung.skipped or rung.found}")
            for rung in climbed.rungs
        ]
    )


def _ollama(host: str | None) -> OllamaClient:
    import os

    from ggship.runtimes.ollama_api import OllamaClient

    return OllamaClient(host or os.environ.get("OLLAMA_HOST", ""))


def _same(gateway: Any, flavour: str) -> bool:
    return bool(gateway.traits.flavour == flavour)
