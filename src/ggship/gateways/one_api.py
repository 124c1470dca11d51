"""One-API over HTTP: its admin calls and its relay, with the answers that only look like success told apart.

Source of the quirks: songquanpeng/one-api at its state of 2025-02-21, and 59 recorded exchanges with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from ggship.errors import Refused, ServerError
from ggship.gateways.gateway import ASK_TOKENS, Gateway, GatewayStatus, Said, Tested, Traits
from ggship.gateways.model import OLLAMA_TYPE, OPENAI_TYPE, PLACEHOLDER_KEY, Channel, ChannelId, differences, to_json
from ggship.gateways.relay import Relay
from ggship.gateways.secrets import TOKEN, Secret
from ggship.transport import Reply, Transport

# The status of the new-api family has these, One-API's has not (QuantumNous/new-api, controller/misc.go). There, type 4
# is Ollama (constant/channel.go), and another call switches a channel (QuantumNous/new-api#5918).
NEW_API_SIGNS = ("self_use_mode_enabled", "setup", "quota_display_type")
MAX_PAGES = 500
ADMIN_SECONDS = 60.0
TEST_SECONDS = 300.0  # a cold model of some size loads in that time
# With Redis or its memory cache a One-API sees its own writes only at the next refresh (songquanpeng/one-api#2309).
CACHE_SECONDS = 600
DEFAULT_RATIO = 30  # what a model costs that has no ratio (relay/billing/ratio/model.go)
_NOT_THEIRS = {"rpm", "tpm"}


class OneApi(Gateway):
    """One gateway. `token`: an admin's access token. `key`: a client's key, with or without its `sk-`."""

    traits: ClassVar[Traits] = Traits(
        "one-api", types={"native": OLLAMA_TYPE, "openai": OPENAI_TYPE}, lag=CACHE_SECONDS
    )
    config_field = "config"
    tests_speak = True  # the model's words are the message of a test, so an empty one is no answer
    default_ratio = DEFAULT_RATIO

    def __init__(self, transport: Transport, token: Secret, key: Secret | None = None) -> None:
        super().__init__()
        self.url = transport.base_url
        self._transport = transport
        self._token = token
        self._relay = Relay(transport, Secret(key.reveal().removeprefix("sk-")), self._hide) if key else None
        self._key = key

    @property
    def can_ask(self) -> bool:
        """Whether there is a client key."""
        return self._relay is not None

    def status(self) -> GatewayStatus:
        """What answers there. No token is sent. Raises ServerError where it is no gateway of this family."""
        data = self._data(self._transport.request("GET", "/api/status", read_seconds=30), "GET /api/status")
        if not isinstance(data, dict) or "version" not in data:
            raise ServerError("this is no One-API", where=f"GET {self.url}/api/status", hint="check --url")
        flavour = "new-api" if any(sign in data for sign in NEW_API_SIGNS) else "one-api"
        return GatewayStatus(flavour, str(data["version"]), str(data.get("system_name", "")))

    def need_writable(self) -> GatewayStatus:
        """The status, to be called before any write. Raises Refused for another family than this one."""
        status = self.status()
        if status.flavour != self.traits.flavour:
            raise Refused(
                f"this gateway is {status.flavour} {status.version}, not {self.traits.flavour}",
                where=f"{self.url}: there, other numbers mean Ollama, and other calls switch a channel",
                hint=f"--kind {status.flavour}, or --kind auto",
            )
        return status

    def channels(self) -> list[Channel]:
        """Every channel, newest first."""
        return list(self._pages())

    def _pages(self) -> Iterator[Channel]:
        seen: set[ChannelId] = set()
        for page in range(MAX_PAGES):
            rows = [self._channel(row) for row in self._rows(f"/api/channel/?p={page}")]
            fresh = [row for row in rows if row.id not in seen]  # a channel added meanwhile shifts the pages
            if not fresh:
                return
            seen.update(row.id for row in fresh)
            yield from fresh

    def find(self, name: str) -> list[Channel]:
        """The channels of exactly that name; the gateway's own search takes prefixes and ids too."""
        found = [self._channel(row) for row in self._rows(f"/api/channel/search?keyword={quote(name, safe='')}")]
        return [channel for channel in found if channel.name == name]

    def get(self, number: ChannelId) -> Channel:
        """One channel. Raises ServerError where there is none of that id."""
        return self._channel(self._admin("GET", f"/api/channel/{number}"))

    def test(self, number: ChannelId, model: str) -> Tested:
        """Let the gateway ask its upstream; works for a channel that is switched off. It proves no routing.

        The gateway sets no limit on the answer, so a model that does not stop by itself runs into our time-out.
        """
        path = f"/api/channel/test/{number}?model={quote(model, safe='')}"
        document = self._document(self._send("GET", path, read_seconds=TEST_SECONDS), f"GET {path}")
        words = self._hide(str(document.get("message") or ""))
        ok = document.get("success") is True and (bool(words.strip()) or not self.tests_speak)
        return Tested(ok, words, float(document.get("time") or 0))

    def options(self) -> dict[str, str]:
        """The gateway's options; empty where the token is not root's."""
        try:
            rows = self._rows("/api/option/")
        except ServerError:
            return {}
        return {str(row.get("key")): str(row.get("value")) for row in rows}

    def warnings(self, model: str) -> list[str]:
        """What the model will cost, where the token may see it; a new version's name has no price of its own."""
        ratios = _ratios(self.options().get("ModelRatio", "")) if self.default_ratio else {}
        if not ratios or model in ratios or f"{model}({OLLAMA_TYPE})" in ratios:
            return []
        return [f"{model} has no price on this gateway: users pay ratio {self.default_ratio} (its option ModelRatio)"]

    def comes_back(self) -> str:
        """Its own tests switch on what an admin switched off, where that option is set (controller/channel-test.go)."""
        if self.options().get("AutomaticEnableChannelEnabled") != "true":
            return ""
        return "this gateway switches channels on again after its own tests (AutomaticEnableChannelEnabled)"

    def ask(
        self, model: str, *, channel: ChannelId | None = None, stream: bool = False, tokens: int = ASK_TOKENS
    ) -> Said:
        """Ask through the relay as a client does, or through one channel (an admin's key may name it)."""
        if self._relay is None:
            from ggship.gateways.relay import no_key

            raise no_key()
        pin = "" if channel is None else f"-{channel}"
        return self._relay.ask(model, prefix="sk-", pin=pin, stream=stream, tokens=tokens)

    def _channel(self, raw: Any) -> Channel:
        return Channel.of(raw if isinstance(raw, dict) else {}, config=self.config_field)

    def _fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields as this family calls them."""
        named = {self.config_field if key == "config" else key: value for key, value in fields.items()}
        return {key: value for key, value in named.items() if key not in _NOT_THEIRS}

    def _post(self, wanted: Channel) -> None:
        self._admin("POST", "/api/channel/", {**self._fields(to_json(wanted)), "key": PLACEHOLDER_KEY})

    def _put(self, now: Channel, wanted: Channel) -> None:
        self._admin("PUT", "/api/channel/", {"id": now.id, **self._fields(differences(now, wanted))})

    def _remove(self, number: ChannelId) -> None:
        self._admin("DELETE", f"/api/channel/{number}")

    def _rows(self, path: str) -> list[dict[str, Any]]:
        data = self._admin("GET", path)
        return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []

    def _admin(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._data(self._send(method, path, body), f"{method} {path}")

    def _headers(self) -> dict[str, str]:
        # "Bearer" is taken by One-API and its relatives alike.
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, read_seconds: float | None = ADMIN_SECONDS
    ) -> Reply:
        return self._transport.request(method, path, json=body, headers=self._headers(), read_seconds=read_seconds)

    def _data(self, reply: Reply, call: str) -> Any:
        document = self._document(reply, call)
        if document.get("success") is True:
            return document.get("data")
        words = self._hide(str(document.get("message") or "no reason given"))
        hint = ""
        if "New-Api-User" in words:
            hint = "--user-id N: the number of the user whose token this is, from the gateway's personal settings page"
        elif reply.status == 401 or "access token" in words:
            hint = f"{TOKEN} is the access token of an admin, from the gateway's personal settings page"
        elif "权限不足" in words:
            hint = f"{TOKEN} must be an admin's: this user may not change channels"
        raise ServerError("the gateway refused", where=f"{call}: {words}", hint=hint, status=reply.status)

    def _document(self, reply: Reply, call: str) -> dict[str, Any]:
        """The envelope. No word of the body is ever shown: the answer to an update holds the channel's key."""
        where = f"{call} at {self.url}: HTTP {reply.status}"
        if reply.status == 429:
            raise ServerError("the gateway takes no more calls for now", where=where, hint="try again in 3 minutes")
        if 300 <= reply.status < 400:
            raise ServerError(
                "the gateway sends us elsewhere, and a token is not carried along",
                where=f"{where} to {reply.headers.get('location', 'nowhere')}",
                hint="pass the address it leads to with --url",
                status=reply.status,
            )
        try:
            document = reply.json()
        except ServerError:
            document = None
        if not isinstance(document, dict) or "success" not in document:
            raise ServerError("this is no answer of a One-API", where=where, hint="check --url", status=reply.status)
        return document

    def _hide(self, text: str) -> str:
        text = self._token.hide_in(text)
        return Secret(self._key.reveal().removeprefix("sk-")).hide_in(text) if self._key else text


def _ratios(text: str) -> dict[str, Any]:
    import json

    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
