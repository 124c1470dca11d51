"""ggship gateway: put a model behind a gateway, take it off, look at what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import Command, force_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.gateways import Channel, OneApi


def _gateway_options(command: Command) -> Command:
    for option in (
        click.option("--insecure-http", is_flag=True, help="Send the token by plain http through a public network."),
        click.option(
            "--url", required=True, envvar="GGSHIP_GATEWAY_URL", show_envvar=True, help="The gateway's address."
        ),
        click.option(
            "--kind", type=click.Choice(["one-api"]), default="one-api", show_default=True, help="What it is."
        ),
    ):
        command = option(command)
    return command


wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    show_envvar=True,
    help="How long the gateway may take to route as its channel says; with a cache it lags up to 600 s.",
)


@click.group()
def gateway() -> None:
    """Put a model behind a gateway, or take it off.

    The admin's access token is read from GGSHIP_GATEWAY_TOKEN, or from the file (mode 600) that
    GGSHIP_GATEWAY_TOKEN_FILE names; a client's key, to ask the model as users do, from GGSHIP_GATEWAY_KEY or
    GGSHIP_GATEWAY_KEY_FILE.

    \b
    ggship gateway apply law-helper --kind one-api --url http://127.0.0.1:3000
    """


@gateway.command()
@click.argument("name")
@_gateway_options
@click.option("--upstream", metavar="URL", show_envvar=True, help="Ollama's address as the gateway reaches it.")
@click.option("--public", metavar="MODEL", show_envvar=True, help="The name that clients ask for (otherwise NAME).")
@click.option("--group", default="default", show_default=True, help="The gateway's user groups, with commas.")
@click.option("--no-ask", is_flag=True, help="Do not ask the model through the gateway afterwards.")
@wait_option
@force_option
@json_option
@click.pass_obj
def apply(terminal: Terminal, /, name: str, kind: str, url: str, insecure_http: bool, **wanted: Any) -> None:
    """Lead the gateway's clients to the proven model NAME.

    A channel is created switched off, tested, switched on and asked. Doing it again changes nothing; a new release
    is tried beside the live channel before that is changed. Channels of others are never touched.
    """
    import os
    from dataclasses import asdict

    from ggship.gateways import Route
    from ggship.gateways import apply as apply_route
    from ggship.publish import need_proof
    from ggship.releases import load_package
    from ggship.runtimes.ollama_api import OllamaClient

    one_api = _open(url, insecure_http)
    info = load_package(name)
    client = OllamaClient(info.host or os.environ.get("OLLAMA_HOST", ""))
    held = client.digest(info.live_name)
    for problem in need_proof(info, held, force=wanted["force"]):
        terminal.warn(problem)
    route = Route(
        name=info.name,
        public=wanted["public"] or info.name,
        model=info.live_name,
        upstream=wanted["upstream"] or client.url,
        group=wanted["group"],
        digest=held or "",
    )
    done = apply_route(one_api, route, ask=not wanted["no_ask"], wait_seconds=wanted["wait"], on_step=_note(terminal))
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        said = asdict(done.said) if done.said else None
        terminal.document({**_row(done.channel), "created": done.created, "changed": done.changed, "said": said})
        return
    what = "created" if done.created else f"changed: {', '.join(done.changed)}" if done.changed else "nothing to change"
    answer = done.said.text.strip() if done.said else "(not asked)"
    terminal.lines([(info.name, f"channel {done.channel.id}, {what}"), *_lines(done.channel), ("answer", answer)])


@gateway.command()
@click.argument("name")
@_gateway_options
@wait_option
@json_option
@click.pass_obj
def off(terminal: Terminal, name: str, kind: str, url: str, insecure_http: bool, wait: float) -> None:
    """Take NAME off the gateway: its channel is switched off, and clients are seen to get no answer.

    The channel stays; `ggship gateway apply NAME` brings it back.
    """
    from ggship.gateways import off as switch_off

    done = switch_off(_open(url, insecure_http), name, wait_seconds=wait, on_step=_note(terminal))
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        row = _row(done.channel) if done.channel else None
        terminal.document({"channel": row, "changed": done.changed, "probe": done.probe, "still": done.still})
    elif done.channel is None:
        terminal.say(f"{name} has no channel at {url}: nothing to do")
    else:
        state = "switched off" if done.changed else "was off already"
        terminal.lines([(name, f"channel {done.channel.id} {state}"), ("clients get", done.probe or "(not asked)")])


@gateway.command()
@_gateway_options
@json_option
@click.pass_obj
def status(terminal: Terminal, kind: str, url: str, insecure_http: bool) -> None:
    """What the gateway is, and the channels on it that ggship made. Changes nothing."""
    one_api = _open(url, insecure_http)
    found = one_api.status()
    ours = [channel for channel in one_api.channels() if channel.mark] if found.flavour == "one-api" else []
    if terminal.as_json:
        about = {"flavour": found.flavour, "version": found.version, "system_name": found.system_name}
        terminal.document({**about, "channels": [_row(channel) for channel in ours]})
        return
    terminal.lines([("gateway", f"{found.flavour} {found.version} ({found.system_name}) at {one_api.url}")])
    for channel in ours:
        terminal.lines([(str(channel.mark.get("name", "")), f"channel {channel.id}"), *_lines(channel)])
    if not ours:
        terminal.say("no channel of ggship's")


def _open(url: str, insecure_http: bool) -> OneApi:
    from ggship.gateways import KEY, TOKEN, OneApi, check_address, need_secret, read_secret
    from ggship.transport import Transport

    address = check_address(url, insecure_http=insecure_http)
    token = need_secret(TOKEN, "an admin's access token of the gateway")
    return OneApi(Transport(address), token, read_secret(KEY))


def _note(terminal: Terminal) -> Any:
    return (lambda text: None) if terminal.as_json else (lambda text: terminal.note(f"{text} ..."))


def _row(channel: Channel) -> dict[str, Any]:
    return {
        "id": channel.id,
        "name": channel.name,
        "on": channel.enabled,
        "models": list(channel.models),
        "model_mapping": dict(channel.model_mapping),
        "upstream": channel.base_url,
        "ggship": dict(channel.mark),
    }


def _lines(channel: Channel) -> list[tuple[str, str]]:
    pointers = [f"{public} -> {model}" for public, model in channel.model_mapping.items()]
    return [
        ("state", "on" if channel.enabled else "off"),
        ("model", ", ".join(pointers) or ", ".join(channel.models)),
        ("upstream", channel.base_url),
    ]
