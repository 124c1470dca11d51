"""Secrets: read from the environment, a private file or the keyring, shown nowhere, sent over no open network."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ggship.errors import UsageError

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
    """The secret in the variable `name`, else in the file that `name`_FILE names, else in the keyring's entry that
    `name`_KEYRING names as SERVICE/USER; None where none is set.

    Raises UsageError where the file is missing, empty, or readable by others, where the keyring has no such entry, and
    where the value is none that a header can carry: one line of printable ASCII.
    """
    env = os.environ if environ is None else environ
    value = env.get(name, "").strip()
    if value:
        return _checked(name, value)
    file = env.get(f"{name}_FILE", "")
    if not file:
        entry = env.get(f"{name}_KEYRING", "")
        return _from_keyring(name, entry) if entry else None
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
    return _checked(f"the file that {name}_FILE names", value)


def _from_keyring(name: str, entry: str) -> Secret:
    """The entry of the desktop's keyring. It is asked only where it is named: to ask it may open a window."""
    service, slash, user = entry.rpartition("/")
    if not slash or not service or not user:
        raise UsageError(f"{name}_KEYRING names no entry", where=entry, hint=f"{name}_KEYRING=SERVICE/USER")
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise UsageError(
            f"{name}_KEYRING is set, and no keyring is installed here", where=entry, hint="pip install keyring"
        ) from None
    try:
        value = (keyring.get_password(service, user) or "").strip()
    except KeyringError as error:
        raise UsageError(
            f"the keyring that {name}_KEYRING names cannot be read", where=f"{entry}: {type(error).__name__}"
        ) from None
    if not value:
        raise UsageError(
            f"the keyring has no entry {entry}", where=f"{name}_KEYRING", hint=f"keyring set {service} {user}"
        )
    return _checked(f"the keyring's entry {entry}", value)


def _checked(source: str, value: str) -> Secret:
    """HTTP libraries repeat a header that they cannot send in their errors, so it must not come so far."""
    if not value.isascii() or not value.isprintable():
        what = "characters outside ASCII" if not value.isascii() else "a line break or another control character"
        raise UsageError(f"{source} holds no key", where=f"it has {what} in it", hint="a key is one line of ASCII")
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
    except (OSError, UnicodeError):
        return []


def may_travel(url: str, *, resolver: Resolver = resolve) -> bool:
    """Whether a secret may be sent to that address: over https, or by plain http within a private network."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_private(parts.hostname or "", resolver))


def is_private(host: str, resolver: Resolver = resolve) -> bool:
    """Whether the host is this machine or in a private network; a name counts by all its addresses."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        addresses = [ipaddress.ip_address(host)]
    except ValueError:
        addresses = [ipaddress.ip_address(found.partition("%")[0]) for found in resolver(host)]
    return bool(addresses) and all(address.is_private or address.is_loopback for address in addresses)
