"""The secrets of a gateway, by name, and the addresses that they may travel to."""

from __future__ import annotations

from urllib.parse import urlsplit

from ggship.errors import UsageError
from ggship.secrets import HIDDEN, Resolver, Secret, is_private, need_secret, read_secret, resolve

__all__ = ["KEY", "TOKEN", "Secret", "check_address", "gateway_secret", "need_secret", "read_secret"]

TOKEN = "GGSHIP_GATEWAY_TOKEN"
KEY = "GGSHIP_GATEWAY_KEY"


def gateway_secret(name: str, suffix: str) -> Secret | None:
    """A gateway's own secret (GGSHIP_GATEWAY_TOKEN_OFFICE), else the one for all of them; None where there is none."""
    return (read_secret(f"{name}{suffix}") if suffix else None) or read_secret(name)


def check_address(url: str, *, insecure_http: bool = False, resolver: Resolver = resolve) -> str:
    """The address of a gateway, without a trailing slash, if secrets may be sent there.

    Plain http is for this machine and private networks; elsewhere it needs `insecure_http`. Raises UsageError.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError("this is no address of a gateway", where=f"{url}: {error}") from None
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
