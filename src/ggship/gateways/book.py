"""The gateways that this user has named: where they are and what they are, never their secrets."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from ggship.digests import write_text
from ggship.errors import BadFile, UnknownName, UsageError
from ggship.settings import state_dir

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}\Z")


@dataclass(frozen=True, slots=True)
class Known:
    """A gateway by its name. kind: one-api, new-api or litellm.

    config: LiteLLM's file of ours where it has no database, else "". upstream: Ollama's address as the gateway sees it,
    "" where that is where the package was proven. user_id: whose token it is, which new-api wants to hear.
    """

    name: str
    kind: str
    url: str
    user_id: str = ""
    upstream: str = ""
    config: str = ""
    insecure_http: bool = False

    @property
    def suffix(self) -> str:
        """What the variables of its secrets end with: _OFFICE_1 for office-1."""
        return f"_{re.sub('[^A-Za-z0-9]', '_', self.name).upper()}" if self.name else ""


def add(known: Known) -> None:
    """Remember it, in place of what the name meant before. Raises UsageError for a name that is none."""
    if not _NAME.match(known.name):
        raise UsageError(
            "that is no name for a gateway", where=known.name, hint="letters, digits, - and _, at most 40 of them"
        )
    path = _file(known.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(known), ensure_ascii=False, indent=1) + "\n")


def find(name: str) -> Known:
    """The gateway of that name. Raises UnknownName with those that are known."""
    path = _file(name)
    if not _NAME.match(name) or not path.is_file():
        names = [known.name for known in known_gateways()]
        raise UnknownName(
            f"no gateway is named {name}",
            where=f"known here: {', '.join(names)}" if names else "no gateway was named here yet",
            hint=f"ggship gateway add {name} --url URL",
        )
    return _read(path)


def known_gateways() -> list[Known]:
    """All of them, by name."""
    return [_read(path) for path in sorted((state_dir() / "gateways").glob("*.json"))]


def _read(path: Path) -> Known:
    try:
        return Known(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise BadFile(
            "what is remembered of a gateway is damaged", where=f"{path}: {error}", hint=f"rm {path}, and add it again"
        ) from error


def _file(name: str) -> Path:
    return state_dir() / "gateways" / f"{name}.json"
