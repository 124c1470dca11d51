"""Secrets and the addresses they may travel to: from the environment or a private file, never over open networks."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ggship.errors import UsageError

TOKEN = "GGSHIP_GATEWAY_TOKEN"
KEY = "GGSHIP_GATEWAY_KEY"
HIDDEN = "***"

Resolver = Callable[[str], list[str]]


class Secret:
    """A value that shows itself only where it is asked to: not in repr, str, tracebacks or f-strings."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value, to be sent and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def hide_in(self, text: str) -> str:
        """The text without the value."""
        return text.replace(self._value, HIDDEN)


def read_secret(name: str, environ: Mapping[str, str] | None = None) -> Secret | None:
    """The secret in the variable `name`, else in the file that `name`_FILE names; None where neither is set.

    Raises UsageError where the file is missing, empty, or readable by others.
    """
    env = os.environ if environ is None else environ
    value = env.get(name, "").strip()
    if value:
        return Secret(value)
    file = env.get(f"{name}_FILE", "")
    if not file:
        return None
    path = Path(file).expanduser()
    try:
        mode = path.stat().st_mode
        value = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the file that {name}_FILE names cannot be read", where=f"{path}: {error}") from error
    if mode & 0o077:
        raise UsageError(
            f"others on this machine can read the secret that {name}_FILE names",
            where=f"{path}: mode {mode & 0o777:03o}",
            hint=f"chmod 600 {path}",
        )
    if not value:
        raise UsageError(f"the file that {name}_FILE names is empty", where=str(path))
    return Secret(value)


def need_secret(name: str, what: str, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret; UsageError saying where to put it where there is none."""
    secret = read_secret(name, environ)
    if secret is None:
        raise UsageError(
            f"{what} is needed",
            where=f"neither {name} nor {name}_FILE is set",
            hint=f"export {name}_FILE=~/.config/ggship/secret   (a file with mode 600), or set {name}",
        )
    return secret


def resolve(host: str) -> list[str]:
    """The addresses of a host name; none where it has none."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except OSError:
        return []


def check_address(url: str, *, insecure_http: bool = False, resolver: Resolver = resolve) -> str:
    """The address of a gateway, without a trailing slash, if secrets may be sent there.

    Plain http is for this machine and private networks; elsewhere it needs `insecure_http`. Raises UsageError.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("this is no address of a gateway", where=url, hint="--url http://127.0.0.1:3000")
    if parts.username or parts.password:
        raise UsageError(
            "an address must carry no password: it ends up in logs and process lists",
            where=f"{parts.scheme}://{HIDDEN}@{parts.hostname}",
            hint=f"export {TOKEN}_FILE=FILE",
        )
    if parts.query or parts.fragment:
        raise UsageError("an address of a gateway ends before ? and #", where=url.split("?")[0].split("#")[0])
    if parts.scheme == "http" and not insecure_http and not is_private(parts.hostname, resolver):
        raise UsageError(
            "plain http would send the token through a public network",
            where=url,
            hint="use https, or --insecure-http if you know that nobody listens on the way",
        )
    return url.rstrip("/")


def is_private(host: str, resolver: Resolver = resolve) -> bool:
    """Whether the host is this machine or in a private network; a name counts by all its addresses."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        addresses = [ipaddress.ip_address(host)]
    except ValueError:
        addresses = [ipaddress.ip_address(found.partition("%")[0]) for found in resolver(host)]
    return bool(addresses) and all(address.is_private or address.is_loopback for address in addresses)
