"""ggship gateway plan and apply: lead a gateway's clients to a proven model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ggship.cli.gateway_view import (
    journalled,
    known,
    lines,
    no_ask_option,
    note,
    row,
    split_version,
    upstream_option,
    wait_option,
    where_options,
)
from ggship.cli.options import Command, force_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.gateways import Applied, Gateway, Route
    from ggship.package import PackageInfo


def version_options(command: Command) -> Command:
    """How one version is to be reached."""
    for option in (
        click.option("--tpm", type=click.IntRange(min=1), help="LiteLLM: tokens a minute, at most."),
        click.option("--rpm", type=click.IntRange(min=1), help="LiteLLM: requests a minute, at most."),
        click.option(
            "--mode",
            type=click.Choice(["native", "openai"]),
            help="Which of Ollama's APIs it asks: its own (native), or /v1, which keeps stop and tools.",
        ),
        upstream_option,
    ):
        command = option(command)
    return command


def route_options(command: Command) -> Command:
    """How the model is to be reached; what is not given stays as the channel has it."""
    for option in (
        version_options,
        click.option("--group", help="The gateway's user groups, with commas (otherwise default)."),
        click.option("--public", metavar="MODEL", help="The name that clients ask for (otherwise NAME)."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name", metavar="NAME[@VERSION]")
@where_options
@route_options
@click.option("--check", is_flag=True, help="Exit with 3 where something would change.")
@force_option
@json_option
@click.pass_obj
def plan(terminal: Terminal, /, name: str, check: bool, force: bool, **given: Any) -> int:
    """What `apply` would change on the gateway, field by field. Changes nothing."""
    from ggship.gateways import plan as plan_route

    gateway, route = prepare(terminal, name, given, force)
    planned = plan_route(gateway, route)
    for warning in planned.warnings:
        terminal.warn(warning)
    what = "create" if planned.now is None else "change" if planned.changes else "nothing"
    if terminal.as_json:
        changes = {key: {"now": now, "then": then} for key, (now, then) in planned.changes.items()}
        number = planned.now.id if planned.now else None
        terminal.document({"do": what, "channel": number, "changes": changes, "warnings": list(planned.warnings)})
    else:
        there = f"channel {planned.now.id}" if planned.now else "a new channel"
        words = {"create": "would be made", "change": "would be changed", "nothing": "is as it should be"}[what]
        terminal.lines([(route.name, f"{there} {words}")])
        terminal.lines([(key, _change(now, then)) for key, (now, then) in planned.changes.items()])
    return 3 if check and what != "nothing" else 0


@click.command()
@click.argument("name", metavar="NAME[@VERSION]")
@where_options
@route_options
@no_ask_option
@wait_option
@force_option
@json_option
@click.pass_obj
def apply(terminal: Terminal, /, name: str, no_ask: bool, wait: float, force: bool, **given: Any) -> None:
    """Lead the gateway's clients to the proven model NAME.

    A channel is created switched off, tested, switched on and asked. Doing it again changes nothing; a new release
    is tried beside the live channel before that is changed. Channels of others are never touched.
    """
    gateway, route = prepare(terminal, name, given, force)
    show_applied(terminal, route, apply_now(terminal, gateway, route, ask=not no_ask, wait=wait))


def apply_now(terminal: Terminal, gateway: Gateway, route: Route, *, ask: bool, wait: float) -> Applied:
    """Apply, written down."""
    from ggship.gateways import apply as apply_route

    with journalled(gateway, "apply", route.name):
        return apply_route(gateway, route, ask=ask, wait_seconds=wait, on_step=note(terminal))


def show_applied(terminal: Terminal, route: Route, done: Applied) -> None:
    """What was done, and what a client was answered."""
    from dataclasses import asdict

    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        said = asdict(done.said) if done.said else None
        terminal.document({**row(done.channel), "created": done.created, "changed": done.changed, "said": said})
        return
    what = "created" if done.created else f"changed: {', '.join(done.changed)}" if done.changed else "nothing to change"
    answer = done.said.text.strip() if done.said else "(not asked)"
    terminal.lines([(route.name, f"channel {done.channel.id}, {what}"), *lines(done.channel), ("answer", answer)])


def prepare(terminal: Terminal, name: str, given: dict[str, Any], force: bool) -> tuple[Gateway, Route]:
    """The gateway, and the route to the proven model; takes what it needs out of `given`.

    Raises GateFailed or Refused where the model is not the proven one, here or where the gateway will ask it.
    """
    import os
    from dataclasses import replace

    from ggship.gateways import Route
    from ggship.gateways.opening import open_gateway
    from ggship.gateways.routing import as_it_is, only_ours
    from ggship.gateways.versions import proven_model
    from ggship.releases import load_package
    from ggship.runtimes.ollama_api import OllamaClient

    package, version = split_version(name)
    info = load_package(package)
    client = OllamaClient(info.host or os.environ.get("OLLAMA_HOST", ""))
    model, held, problems = proven_model(info, client, version, force=force)
    for problem in problems:
        terminal.warn(problem)
    gateway_known = known(given)
    gateway = open_gateway(gateway_known)
    gateway.need_writable()  # before the token travels
    now = only_ours(gateway, gateway.channels(), info.name)
    upstream = given.get("upstream") or gateway_known.upstream or (now.base_url if now else "") or client.url
    _check_upstream(terminal, info, client.url, upstream, model, held, force)
    plain = Route(info.name, info.name, model, upstream, digest=held)
    wishes = {key: given[key] for key in ("public", "group", "mode", "rpm", "tpm") if given.get(key)}
    return gateway, replace(as_it_is(gateway, plain, now), **wishes)


def _check_upstream(
    terminal: Terminal, info: PackageInfo, proven_at: str, upstream: str, model: str, proven: str, force: bool
) -> None:
    """Hold the model at another address than the proven one's against the proof, where that address answers from here.

    Raises Refused where it holds another model, or none; `force` makes a warning of the first.
    """
    from ggship.errors import Refused, ServerError
    from ggship.runtimes.ollama_api import OllamaClient

    client = OllamaClient(upstream)
    try:
        held = None if client.url == proven_at else client.digest(model)
    except ServerError as error:
        terminal.warn(f"not verified that {upstream} holds the proven model: from here, {error.message}")
        return
    finally:
        client.close()
    if client.url == proven_at:
        return
    if held is None:
        raise Refused(
            f"{upstream} holds no model {model}",
            where=f"it was proven at {proven_at}",
            hint="bring it there first: ggship publish, then `ollama pull` on that server",
        )
    if held != proven:
        words = f"{upstream} holds another model as {model} than the one that was proven"
        if not force:
            where = f"there {held[:12]}, proven {str(info.digest)[:12]}"
            raise Refused(
                words, where=where, hint="bring the proven one there, or --force leads clients to what is there"
            )
        terminal.warn(words)


def _change(now: Any, then: Any) -> str:
    return str(then) if now in (None, "") else f"{now}  ->  {then}"
