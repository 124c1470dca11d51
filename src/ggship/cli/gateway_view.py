"""What the subcommands of `ggship gateway` share: their options, the gateway that is meant, how a channel is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import Command
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.errors import UnknownName
    from ggship.gateways import Channel, Gateway
    from ggship.gateways.book import Known
    from ggship.package import PackageInfo

KINDS = ["auto", "one-api", "new-api", "litellm"]


def where_options(command: Command) -> Command:
    """Which gateway: by its name, or by its address."""
    for option in (
        click.option("--insecure-http", is_flag=True, help="Send the token by plain http through a public network."),
        click.option("--config", metavar="FILE", help="LiteLLM without a database: ggship's own YAML file."),
        click.option("--user-id", metavar="N", help="new-api: the number of the user whose token it is."),
        click.option("--kind", type=click.Choice(KINDS), default="auto", show_default=True, help="What it is."),
        click.option("--url", envvar="GGSHIP_GATEWAY_URL", help="The gateway's address, in place of --gateway."),
        click.option("--gateway", "gateway_name", metavar="NAME", envvar="GGSHIP_GATEWAY", help="One that was added."),
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
no_ask_option = click.option("--no-ask", is_flag=True, help="Do not ask the model through the gateway afterwards.")
upstream_option = click.option("--upstream", metavar="URL", help="Ollama's address as the gateway reaches it.")


def known(where: dict[str, Any]) -> Known:
    """The gateway that the options mean; they are taken out of `where`. Raises UsageError where none is named.

    Without a name and an address it is the only one that was added.
    """
    from ggship.errors import UsageError
    from ggship.gateways.book import Known, find, known_gateways
    from ggship.gateways.opening import detect

    keys = ("gateway_name", "url", "kind", "user_id", "config", "insecure_http")
    name, url, kind, user, config, insecure = (where.pop(key) for key in keys)
    if name and not url:
        return find(name)
    if not url:
        all_known = known_gateways()
        if len(all_known) == 1:
            return all_known[0]
        raise UsageError(
            "which gateway?",
            where=f"known here: {', '.join(k.name for k in all_known)}" if all_known else "none was added yet",
            hint="--gateway NAME" if all_known else "ggship gateway add NAME --url URL, or --url URL",
        )
    if kind == "auto":
        kind = "litellm" if config else detect(url, insecure_http=insecure)
    return Known("", kind, url, user or "", "", config or "", insecure)


def opened(terminal: Terminal, where: dict[str, Any]) -> Gateway:
    """A client of the gateway that the options mean."""
    from ggship.gateways.opening import open_gateway

    return open_gateway(known(where))


@contextmanager
def journalled(gateway: Gateway, command: str, name: str, *, undoes: str = "") -> Iterator[None]:
    """Write down what the command writes; another ggship at the same gateway waits."""
    from ggship.gateways.gateway import Silent
    from ggship.gateways.journal import Journal

    with Journal(gateway.url).act(command, name, undoes=undoes) as writing:
        gateway.recorder = writing
        try:
            yield
        finally:
            gateway.recorder = Silent()


def split_version(name: str) -> tuple[str, str]:
    """(NAME, VERSION); "" where no version is named. A folder keeps whatever is in its name."""
    from pathlib import Path

    if "@" not in name or Path(name).exists():
        return name, ""
    head, _, version = name.rpartition("@")
    return head, version


def package_name(name: str) -> str:
    """The model's name, where the user gave the folder of its package."""
    from pathlib import Path

    from ggship.place import DOCUMENT
    from ggship.releases import load_package

    return load_package(name).name if (Path(name) / DOCUMENT).is_file() else name


def live_package(name: str) -> PackageInfo | None:
    """The package, where it is known on this machine."""
    from ggship.errors import UnknownName
    from ggship.releases import load_package

    try:
        return load_package(name)
    except UnknownName:
        return None


def no_channel(name: str, gateway: Gateway) -> UnknownName:
    """There is none of ours for that name, and which there are."""
    from ggship.errors import UnknownName

    ours = sorted({str(channel.mark.get("name", "")) for channel in gateway.channels() if channel.mark})
    return UnknownName(
        f"there is no channel of ggship's for {name}",
        where=f"{gateway.url}: {', '.join(ours) if ours else 'no channel of ggship at all'}",
        hint="ggship gateway status   shows what is there",
    )


def note(terminal: Terminal) -> Callable[[str], None]:
    """Each step as one line on stderr."""
    return lambda text: terminal.note(f"{text} ...")


def warn_restart(terminal: Terminal, gateway: Gateway, name: str) -> None:
    """Where what was written is read only at the next start."""
    if gateway.traits.restart:
        terminal.warn(f"LiteLLM reads this file when it starts: restart it, then `ggship gateway probe {name}`")


def row(channel: Channel) -> dict[str, Any]:
    """A channel for `--json`."""
    return {
        "id": channel.id,
        "name": channel.name,
        "on": channel.enabled,
        "role": channel.role,
        "models": list(channel.models),
        "model_mapping": dict(channel.model_mapping),
        "upstream": channel.base_url,
        "weight": channel.weight,
        "ggship": dict(channel.mark),
    }


def lines(channel: Channel) -> list[tuple[str, str]]:
    """A channel for people."""
    pointers = [f"{public} -> {model}" for public, model in channel.model_mapping.items()]
    return [
        ("state", "on" if channel.enabled else "off"),
        ("model", ", ".join(pointers) or ", ".join(channel.models)),
        ("upstream", channel.base_url),
    ]
