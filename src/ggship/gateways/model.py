"""A gateway's channel as a value, and the one that a release wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MARK = "ggship"
OLLAMA_TYPE = 30  # One-API: relay/channeltype/define.go; new-api calls Ollama 4, and One-API's 4 is a third party
OPENAI_TYPE = 1  # both families; the URL is base_url + /v1/chat/completions
ENABLED, DISABLED, AUTO_DISABLED = 1, 2, 3
PLACEHOLDER_KEY = "ollama"  # a channel without a key cannot be made (songquanpeng/one-api#1159)
# One-API with a memory cache honours priorities only where the highest is above zero (model/cache.go).
PRIORITY = 10
MAIN, REPLICA, CANARY = "main", "replica", "canary"
PARKED_GROUP = "ggship-off"  # no user is in it, so no test of the gateway's own brings such a channel back

ChannelId = int | str  # a number in the One-API family, a word in LiteLLM


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as the gateway shows it. It never holds the key, even where the gateway's answer did.

    models and group: in the gateway's order, without spaces. model_mapping: public name -> name at the upstream.
    config: the JSON object in the field of that name, empty where it is none; it survives there, so our mark does too.
    weight: its share among channels of one priority, where the gateway heeds it. rpm, tpm: requests and tokens a
    minute, None where unlimited.
    """

    id: ChannelId
    name: str
    type: int
    status: int
    base_url: str
    models: tuple[str, ...]
    group: tuple[str, ...]
    model_mapping: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    weight: int = 0
    rpm: int | None = None
    tpm: int | None = None

    @staticmethod
    def of(raw: Mapping[str, Any], *, config: str = "config") -> Channel:
        """The channel of one JSON object of the gateway; null, absent and empty are the same.

        config: the field that holds our mark, which differs between the families.
        """
        return Channel(
            id=int(raw.get("id") or 0),
            name=str(raw.get("name") or ""),
            type=int(raw.get("type") or 0),
            status=int(raw.get("status") or 0),
            base_url=str(raw.get("base_url") or "").rstrip("/"),
            models=_list(raw.get("models")),
            group=_list(raw.get("group")),
            model_mapping=_object(raw.get("model_mapping")),
            priority=int(raw.get("priority") or 0),
            config=_object(raw.get(config)),
            weight=int(raw.get("weight") or 0),
        )

    @property
    def enabled(self) -> bool:
        """Whether requests are routed to it."""
        return self.status == ENABLED

    @property
    def mark(self) -> Mapping[str, Any]:
        """What ggship wrote into the channel; empty for a channel of someone else."""
        mark = self.config.get(MARK)
        return mark if isinstance(mark, dict) else {}

    @property
    def role(self) -> str:
        """What it is for: main, replica, canary; "trial" where it is not in use yet, "" where it is not ours."""
        if not self.mark:
            return ""
        return "trial" if self.mark.get("trial") else str(self.mark.get("role") or MAIN)

    @property
    def public(self) -> str:
        """The name that clients ask for."""
        return self.models[0] if self.models else ""

    @property
    def model(self) -> str:
        """The name at the upstream."""
        return self.model_mapping.get(self.public, self.public)

    def is_of(self, name: str) -> bool:
        """Whether ggship made it for that package, whatever for."""
        return bool(name) and self.mark.get("name") == name

    def belongs_to(self, name: str) -> bool:
        """Whether it is the one channel through which that package is reached."""
        return self.is_of(name) and self.role == MAIN

    def is_trial_of(self, name: str) -> bool:
        """Whether it is a trial that an interrupted ggship left behind."""
        return self.is_of(name) and self.role == "trial"

    def serves(self, model: str) -> bool:
        """Whether it would answer for that public name."""
        return self.enabled and model in self.models

    def document(self) -> dict[str, Any]:
        """As journals and `--json` show it."""
        return {**to_json(self), "id": self.id, "config": dict(self.config), "model_mapping": dict(self.model_mapping)}

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> Channel:
        """The channel of such a document. Law: what `document` made of a channel becomes that channel again."""
        given = dict(document)
        given["models"], given["group"] = _list(given["models"]), _list(given["group"])
        return Channel(**given)


@dataclass(frozen=True, slots=True)
class Route:
    """What a release wants of a gateway: the public name leads to that model at that Ollama.

    upstream: Ollama's address as the gateway sees it. digest: of the proven model, kept in the channel's mark.
    mode: "native" asks Ollama's own API, "openai" its /v1. rpm, tpm: what LiteLLM is to allow a minute.
    """

    name: str
    public: str
    model: str
    upstream: str
    group: str = "default"
    priority: int = PRIORITY
    digest: str = ""
    mode: str = "native"
    rpm: int | None = None
    tpm: int | None = None

    @property
    def channel_name(self) -> str:
        """How the channel is called."""
        return f"ggship:{self.name}"

    @property
    def mapping(self) -> dict[str, str]:
        """The pointer from the public name to the release; empty where they are the same."""
        return {} if self.public == self.model else {self.public: self.model}

    def channel(
        self,
        number: ChannelId = 0,
        *,
        status: int = ENABLED,
        config: Mapping[str, Any] | None = None,
        types: Mapping[str, int] | None = None,
    ) -> Channel:
        """The channel as it should be; what others wrote into `config` stays. types: the number of each mode."""
        mark = {"name": self.name, "model": self.model, **({"digest": self.digest} if self.digest else {})}
        return Channel(
            id=number,
            name=self.channel_name,
            type=(types or {"native": OLLAMA_TYPE, "openai": OPENAI_TYPE})[self.mode],
            status=status,
            base_url=self.upstream.rstrip("/").removesuffix("/v1"),
            models=(self.public,),
            group=_list(self.group),
            model_mapping=self.mapping,
            priority=self.priority,
            config={**(config or {}), MARK: mark},
            rpm=self.rpm,
            tpm=self.tpm,
        )


def to_json(channel: Channel) -> dict[str, Any]:
    """The channel's fields as the One-API family takes them, without id and key."""
    return {
        "type": channel.type,
        "name": channel.name,
        "base_url": channel.base_url,
        "models": ",".join(channel.models),
        "model_mapping": _text(channel.model_mapping),
        "group": ",".join(channel.group),
        "priority": channel.priority,
        "config": _text(channel.config),
        "status": channel.status,
        "weight": channel.weight,
        "rpm": channel.rpm,
        "tpm": channel.tpm,
    }


def differences(now: Channel, wanted: Channel) -> dict[str, Any]:
    """The fields to send so that `now` becomes `wanted`, and no others. Law: empty means that nothing is to be done."""
    fields = to_json(wanted)
    return {key: value for key, value in fields.items() if getattr(now, key) != getattr(wanted, key)}


def _list(value: object) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(value or "").split(",") if part.strip())


def _object(value: object) -> dict[str, Any]:
    try:
        found = json.loads(value) if isinstance(value, str) and value else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""
