"""OLLAMA_HOST, read exactly as Ollama's own client reads it."""

from __future__ import annotations

import ipaddress
import re

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = "11434"
_PORT = re.compile(r"[+-]?[0-9]+\Z")


def parse_ollama_host(text: str) -> str:
    """The URL to connect to: scheme, host, port, and the path if there is one, without a slash at the end.

    Without a scheme the port is 11434; with http:// it is 80 and with https:// 443 unless given. A port that is none
    becomes the default. An address that only a server can bind to, 0.0.0.0 or ::, becomes loopback.
    Source: Ollama 0.34.4, envconfig/config.go (Var, Host, ConnectableHost).
    """
    text = text.strip().strip("\"'").strip()
    default_port = DEFAULT_PORT
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
        if text == "ollama.com":
            scheme, rest = "https", "ollama.com:443"
    elif scheme == "http":
        default_port = "80"
    elif scheme == "https":
        default_port = "443"
    address, _, path = rest.partition("/")
    split = _split_host_port(address)
    if split is not None:
        host, port = split
    else:
        bare = address.strip("[]")
        host, port = (bare if _ip(bare) else address) or DEFAULT_HOST, default_port
    if not _PORT.match(port) or not 0 <= int(port) <= 65535:
        port = default_port
    ip = _ip(host)
    if ip is not None and ip.is_unspecified:
        host = DEFAULT_HOST if ip.version == 4 else "::1"
    # Go's dialer takes an empty host for this machine; other clients do not.
    host = host or DEFAULT_HOST
    joined = f"[{host}]:{int(port)}" if ":" in host else f"{host}:{int(port)}"
    path = path.strip("/")
    return f"{scheme}://{joined}" + (f"/{path}" if path else "")


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _split_host_port(text: str) -> tuple[str, str] | None:
    """Go's net.SplitHostPort; None where Go reports an error."""
    before, colon, port = text.rpartition(":")
    if not colon:
        return None
    if text.startswith("["):
        inside, bracket, after = text[1:].partition("]")
        if not bracket or not after.startswith(":") or after.rfind(":") != 0:
            return None
        return (inside, port) if "[" not in inside and "[" not in port and "]" not in port else None
    if ":" in before or any(bracket in text for bracket in "[]"):
        return None
    return before, port
