"""ggship gateway: put a model behind a gateway, take it off, look at what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import Command, force_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.errors import UnknownName
    from ggship.gateways import Channel, OneApi
    from ggship.package import PackageInfo


def _gateway_options(command: Command) -> Command:
    for option in (
        click.option("--insecure-http", is_flag=True, help="Send the token by plain http through a public network."),
        click.option("--url", required=True, envvar="GGSHIP_GATEWAY_URL", help="The gateway's address."),
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
@click.option("--upstream", metavar="URL", help="Ollama's address as the gateway reaches it.")
@click.option("--public", metavar="MODEL", help="The name that clients ask for (otherwise NAME).")
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
    if wanted["upstream"]:
        _check_upstream(terminal, info, client.url, wanted["upstream"], wanted["force"])
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

    NAME is a model's, or its package's folder. The channel stays; `ggship gateway apply NAME` brings it back.
    """
    from ggship.gateways import off as switch_off

    name, one_api = _package_name(name), _open(url, insecure_http)
    done = switch_off(one_api, name, wait_seconds=wait, on_step=_note(terminal))
    if done.channel is None:
        raise _no_channel(name, one_api)
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        row = _row(done.channel)
        terminal.document({"channel": row, "changed": done.changed, "probe": done.probe, "still": done.still})
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


def _check_upstream(terminal: Terminal, info: PackageInfo, proven_at: str, upstream: str, force: bool) -> None:
    """Hold the model at another address than the proven one's against the proof, where that address answers from here.

    Raises Refused where it holds another model, or none; `force` makes a warning of the first.
    """
    from ggship.errors import Refused, ServerError
    from ggship.runtimes.ollama_api import OllamaClient

    client = OllamaClient(upstream)
    try:
        held = None if client.url == proven_at else client.digest(info.live_name)
    except ServerError as error:
        terminal.warn(f"not verified that {upstream} holds the proven model: from here, {error.message}")
        return
    finally:
        client.close()
    if client.url == proven_at:
        return
    if held is None:
        raise Refused(
            f"{upstream} holds no model {info.live_name}",
            where=f"it was proven at {proven_at}",
            hint="bring it there first: ggship publish, then `ollama pull` on that server",
        )
    if held != (info.digest or "").removeprefix("sha256:"):
        words = f"{upstream} holds another model as {info.live_name} than the one that was proven"
        if not force:
            where = f"there {held[:12]}, proven {str(info.digest)[:12]}"
            raise Refused(
                words, where=where, hint="bring the proven one there, or --force leads clients to what is there"
            )
        terminal.warn(words)


def _package_name(name: str) -> str:
    """The model's name, where the user gave the folder of its package."""
    from pathlib import Path

    from ggship.place import DOCUMENT
    from ggship.releases import load_package

    return load_package(name).name if (Path(name) / DOCUMENT).is_file() else name


def _no_channel(name: str, one_api: OneApi) -> UnknownName:
    from ggship.errors import UnknownName

    ours = sorted({str(channel.mark.get("name", "")) for channel in one_api.channels() if channel.mark})
    return UnknownName(
        f"there is no channel of ggship's for {name}",
        where=f"{one_api.url}: {', '.join(ours) if ours else 'no channel of ggship at all'}",
        hint="ggship gateway status   shows what is there",
    )


def _note(terminal: Terminal) -> Any:
    return lambda text: terminal.note(f"{text} ...")


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
