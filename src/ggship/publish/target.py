"""Where a release is published to, `ollama:HOST/NAMESPACE/NAME:TAG` or `hf:USER/REPO`, or in words why nowhere."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ggship.errors import UsageError
from ggship.transport import is_loopback

OLLAMA_REGISTRY = "registry.ollama.ai"
EXAMPLE = "--to ollama:localhost:5000/NAMESPACE/NAME, --to ollama:NAMESPACE/NAME for ollama.com, --to hf:USER/REPO"

# The names that Ollama (types/model/name.go) and OCI registries both take; the latter know no capitals.
_HOST = re.compile(r"[a-z0-9_][a-z0-9_.-]*(:[0-9]+)?\Z|\[[0-9a-f:]+\](:[0-9]+)?\Z")
_NAMESPACE = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*\Z")
_MODEL = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}\Z")
_LENGTH = 80
# huggingface_hub/utils/_validators.py: letters, digits, - _ . with no two of - and . side by side, none at an end.
_REPOSITORY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[-.](?![-.]))*(?<![-.])")
_REPOSITORY_LENGTH = 96


@dataclass(frozen=True, slots=True)
class Target:
    """A place in a registry. host: with its port. scheme: "http" or "https" where the user gave one, else ""."""

    kind: str
    host: str
    namespace: str
    model: str
    tag: str = "latest"
    scheme: str = ""

    @property
    def reference(self) -> str:
        """The full name, as Ollama's copy and push take it."""
        host = "" if self.host == OLLAMA_REGISTRY else f"{self.host}/"
        return f"{host}{self.namespace}/{self.model}:{self.tag}"

    @property
    def repository(self) -> str:
        """The part between /v2/ and /manifests/."""
        return f"{self.namespace}/{self.model}"

    @property
    def near(self) -> bool:
        """Whether the registry is this machine, or an address of a private network: there, plain http is normal."""
        if is_loopback(f"http://{self.host}"):
            return True
        try:
            return ipaddress.ip_address(urlsplit(f"http://{self.host}").hostname or "").is_private
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A repository on the Hugging Face hub: USER/REPO."""

    user: str
    repository: str

    def __str__(self) -> str:
        return f"{self.user}/{self.repository}"


def parse_place(text: str) -> Target | HubPlace:
    """The place that `--to` names, of whatever kind. Raises UsageError with an example where it names none."""
    kind, colon, rest = text.partition(":")
    if not (colon and kind == "hf"):
        return parse_target(text)
    user, _, repository = rest.partition("/")
    for what, part in (("user or organization", user), ("repository", repository)):
        if not _REPOSITORY.fullmatch(part) or len(rest) > _REPOSITORY_LENGTH or part.endswith(".git"):
            raise UsageError(
                f"the Hugging Face hub takes no {what} {part!r}",
                where=f"{text}: letters, digits, and - _ . between them, {_REPOSITORY_LENGTH} in all",
                hint="--to hf:USER/REPO",
            )
    return HubPlace(user, repository)


def parse_target(text: str) -> Target:
    """The place in a registry that `--to` names. Raises UsageError with an example where it names none.

    Law: parse_target(f"ollama:{parse_target(text).reference}") is the same place.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind != "ollama":
        raise UsageError("--to does not say what kind of place it is", where=text, hint=EXAMPLE)
    scheme, found, place = rest.partition("://")
    if not found:
        scheme, place = "", rest
    if scheme not in ("", "http", "https"):
        raise UsageError(f"a registry does not speak {scheme}", where=text, hint=EXAMPLE)
    parts = place.split("/")
    last, colon, tag = parts[-1].partition(":")
    if colon and not tag:
        raise UsageError("the tag after the colon is missing", where=text, hint=EXAMPLE)
    if len(parts) == 2 and _looks_like_host(parts[0]):
        raise UsageError(
            "the namespace is missing", where=text, hint=f"for example: --to ollama:{parts[0]}/models/{parts[1]}"
        )
    if len(parts) not in (2, 3):
        raise UsageError("that is no place in a registry", where=text, hint=EXAMPLE)
    host = parts[0] if len(parts) == 3 else OLLAMA_REGISTRY
    target = Target("ollama", host, parts[-2], last, tag or "latest", scheme)
    _check(target, text)
    return target


def _looks_like_host(part: str) -> bool:
    return ":" in part or "." in part or part == "localhost"


def _check(target: Target, text: str) -> None:
    rules = (
        ("host", target.host, _HOST),
        ("namespace", target.namespace, _NAMESPACE),
        ("name", target.model, _MODEL),
        ("tag", target.tag, _TAG),
    )
    for what, part, rule in rules:
        if not rule.match(part) or (what in ("namespace", "name") and len(part) > _LENGTH):
            better = f"--to ollama:{text.partition(':')[2].lower()}" if rule.match(part.lower()) else EXAMPLE
            raise UsageError(
                f"a registry takes no {what} {part!r}", where="small letters, digits, and - _ between them", hint=better
            )
    tag = target.tag.lower()
    if tag in ("local", "cloud") or tag.endswith("-cloud"):
        raise UsageError(
            f"the tag {target.tag!r} means to Ollama where a model runs",
            where="a model of that tag can be pushed, but never asked",
            hint="choose another tag, such as v1",
        )
    if target.host == OLLAMA_REGISTRY and target.namespace == "library":
        raise UsageError(
            "the namespace library belongs to Ollama itself", where=text, hint="--to ollama:YOUR-NAMESPACE/NAME"
        )
