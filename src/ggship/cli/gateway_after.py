"""`ggship package --gateway NAME`: what is checked before the work, and what is done after the promotion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.package import PackageInfo
    from ggship.plan import PackageOptions


def check_gateway(options: PackageOptions, gateway: str, *, all_checkpoints: bool) -> None:
    """Raise, before any work, what would stop us only after the promotion: no such gateway, no secret, a canary."""
    from ggship.errors import UsageError
    from ggship.gateways.book import find
    from ggship.gateways.opening import open_gateway
    from ggship.gateways.routing import need_key, no_canary, only_ours

    if options.runtime in ("none", "embedded"):
        raise UsageError(
            "a gateway leads to a model on an Ollama server",
            where=f"--gateway {gateway} with --runtime {options.runtime}",
            hint="leave --runtime out",
        )
    if all_checkpoints:
        raise UsageError(
            "--gateway is for one package",
            where="--all-checkpoints makes several",
            hint=f"ggship gateway apply {options.name} --gateway {gateway}   afterwards",
        )
    client = open_gateway(find(gateway))
    need_key(client, True)
    client.need_writable()
    channels = client.channels()
    only_ours(client, channels, options.name)
    no_canary(client, channels, options.name)


def lead_there(terminal: Terminal, info: PackageInfo, gateway: str) -> dict[str, Any]:
    """Lead the gateway's clients to the package that was just made live; the channel, as `gateway apply` shows it.

    Raises what `gateway apply` raises, saying that the model itself is live all the same.
    """
    from ggship.cli.gateway_route import apply_now, prepare
    from ggship.cli.gateway_view import lines, row
    from ggship.errors import GgshipError
    from ggship.gateways.proving import WAIT_SECONDS

    given = dict.fromkeys(("url", "kind", "user_id", "config", "insecure_http"))
    try:
        client, route = prepare(terminal, str(info.path), {**given, "gateway_name": gateway}, force=False)
        done = apply_now(terminal, client, route, ask=True, wait=WAIT_SECONDS)
    except GgshipError as error:
        error.where = f"{error.where}\n{info.name} itself is live at {info.host}".lstrip()
        error.hint = error.hint or f"ggship gateway apply {info.name} --gateway {gateway}"
        raise
    for warning in done.warnings:
        terminal.warn(warning)
    if not terminal.as_json:
        answer = done.said.text.strip() if done.said else "(not asked)"
        what = f"channel {done.channel.id} at {client.url}"
        terminal.lines([("gateway", what), *lines(done.channel), ("answer", answer)])
    return {**row(done.channel), "created": done.created, "changed": list(done.changed)}
