"""What must stand on ollama.com before a push: the server's key at an account, and the namespace as that account's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ggship.errors import UsageError
from ggship.publish.target import Target
from ggship.transport import is_loopback

KEYS_PAGE = "https://ollama.com/settings/keys"
# Of the user who started it, and of the service that its installer makes (auth/auth.go: of the server's user).
_KEYS = ("~/.ollama/id_ed25519.pub", "/usr/share/ollama/.ollama/id_ed25519.pub")


class Asked(Protocol):
    """What this needs of an Ollama server."""

    url: str

    def account(self) -> dict[str, Any] | None:
        """Who it is signed in as; see OllamaClient.account."""
        ...


def need_account(client: Asked, target: Target) -> tuple[str, ...]:
    """Raise UsageError where the server is not signed in to ollama.com; warnings for what cannot be seen from here."""
    found = client.account()
    if found is None:
        return (f"who this Ollama is on ollama.com cannot be seen from here; {standing(client.url, target)}",)
    if not found.get("name"):
        link = str(found.get("signin_url") or "")
        raise UsageError(
            "this Ollama is not signed in to ollama.com, so nothing can be pushed there",
            where=f"{client.url}: {standing(client.url, target)}",
            hint="ollama signin" + (f"   (or open {link})" if link.startswith("https://ollama.com/") else ""),
        )
    name = str(found["name"])
    if name.casefold() == target.namespace.casefold():
        return ()
    return (
        f"this Ollama is signed in as {name}: a push into {target.namespace} is taken only where that is {name}'s too",
    )


def standing(url: str, target: Target) -> str:
    """In words what must stand there."""
    key = "its key ~/.ollama/id_ed25519.pub"
    if is_loopback(url):
        here = [Path(place).expanduser() for place in _KEYS]
        key = f"its key {next((path for path in here if path.is_file()), _KEYS[0])}"
    return f"{key} must be at {KEYS_PAGE}, and {target.namespace} be that account's name"
