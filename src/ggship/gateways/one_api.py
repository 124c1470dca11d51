"""One-API over HTTP: its admin calls and its relay, with the answers that only look like success told apart.

Source of the quirks: songquanpeng/one-api at its state of 2025-02-21, and 59 recorded exchanges with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ggship.errors import Refused, ServerError
from ggship.gateways.model import PLACEHOLDER_KEY, Channel, differences, to_json
from ggship.gateways.secrets import KEY, TOKEN, Secret
from ggship.transport import Reply, Transport

# The status of the new-api family has these, One-API's has not (QuantumNous/new-api, controller/misc.go). There, type 4
# is Ollama (constant/channel.go), and another call switches a channel (QuantumNous/new-api#5918).
NEW_API_SIGNS = ("self_use_mode_enabled", "setup", "quota_display_type")
MAX_PAGES = 500
ADMIN_SECONDS = 60.0
TEST_SECONDS = 300.0  # a cold model of some size loads in that time
ASK = "Answer in one short sentence: who are you?"
ASK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What answers at the address: flavour is one-api or new-api."""

    flavour: str
    version: str
    system_name: str


@dataclass(frozen=True, slots=True)
class Tested:
    """A channel test: the gateway asked the upstream itself. text: the model's words, or the reason. seconds: taken."""

    ok: bool
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of the relay. model: the name at the upstream that answered. problem: the gateway's words, else ""."""

    status: int
    text: str = ""
    model: str = ""
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether there are words in it."""
        return self.status == 200 and bool(self.text.strip())

    @property
    def cannot_pin(self) -> bool:
        """Whether the key's owner may not choose a channel: only an admin's key may (middleware/auth.go)."""
        return self.status == 403 and "指定渠道" in self.problem

    @property
    def no_route(self) -> bool:
        """Whether the gateway has no channel for the model, or the one that was asked for is off.

        By its words too (middleware/distributor.go): a busy upstream's 503 comes through with the same status.
        """
        return (self.status == 503 and "无可用渠道" in self.problem) or (self.status == 403 and "禁用" in self.problem)


class OneApi:
    """One gateway. `token`: an admin's access token. `key`: a client's key, with or without its `sk-`."""

    def __init__(self, transport: Transport, token: Secret, key: Secret | None = None) -> None:
        self.url = transport.base_url
        self._transport = transport
        self._token = token
        self._key = Secret(key.reveal().removeprefix("sk-")) if key else None

    @property
    def can_ask(self) -> bool:
        """Whether there is a client key."""
        return self._key is not None

    def status(self) -> GatewayStatus:
        """What answers there. No token is sent. Raises ServerError where it is no gateway of this family."""
        data = self._data(self._transport.request("GET", "/api/status", read_seconds=30), "GET /api/status")
        if not isinstance(data, dict) or "version" not in data:
            raise ServerError("this is no One-API", where=f"GET {self.url}/api/status", hint="check --url")
        flavour = "new-api" if any(sign in data for sign in NEW_API_SIGNS) else "one-api"
        return GatewayStatus(flavour, str(data["version"]), str(data.get("system_name", "")))

    def need_one_api(self) -> GatewayStatus:
        """The status, if it is One-API; to be called before any write. Raises Refused for its relatives."""
        status = self.status()
        if status.flavour != "one-api":
            raise Refused(
                f"this gateway is {status.flavour} {status.version}; ggship writes to One-API only so far",
                where=f"{self.url}: there, channel type 4 is Ollama, 30 is nothing, and switching is another call",
                hint="add the channel in its web page: type Ollama, and the model's name",
            )
        return status

    def channels(self) -> list[Channel]:
        """Every channel, newest first."""
        return list(self._pages())

    def _pages(self) -> Iterator[Channel]:
        seen: set[int] = set()
        for page in range(MAX_PAGES):
            rows = [Channel.of(row) for row in self._rows(f"/api/channel/?p={page}")]
            fresh = [row for row in rows if row.id not in seen]  # a channel added meanwhile shifts the pages
            if not fresh:
                return
            seen.update(row.id for row in fresh)
            yield from fresh

    def find(self, name: str) -> list[Channel]:
        """The channels of exactly that name; the gateway's own search takes prefixes and ids too."""
        found = [Channel.of(row) for row in self._rows(f"/api/channel/search?keyword={quote(name, safe='')}")]
        return [channel for channel in found if channel.name == name]

    def get(self, number: int) -> Channel:
        """One channel. Raises ServerError where there is none of that id."""
        return Channel.of(self._admin("GET", f"/api/channel/{number}"))

    def create(self, wanted: Channel) -> Channel:
        """Make the channel, and find it: the gateway does not tell its id. Raises ServerError where it is not there.

        The old ones of the same name are told apart by id, so that a lost answer is seen as what it is.
        """
        before = {channel.id for channel in self.find(wanted.name)}
        self._admin("POST", "/api/channel/", {**to_json(wanted), "key": PLACEHOLDER_KEY})
        made = [channel for channel in self.find(wanted.name) if channel.id not in before]
        if len(made) != 1:
            raise ServerError(
                "the gateway said that it made the channel, and it is not there"
                if not made
                else "someone else made a channel of the same name at this moment",
                where=f"{wanted.name} at {self.url}: {[channel.id for channel in made] or 'none'}",
                hint="look at the channels in the gateway's web page, then run the same command again",
            )
        self._compare(made[0], wanted)
        return made[0]

    def update(self, now: Channel, wanted: Channel) -> Channel:
        """Send what differs and nothing else, then read it again. Raises ServerError where it did not change.

        The channel must exist: an update of an unknown id succeeds there, and damages the routing.
        """
        self.get(now.id)
        self._admin("PUT", "/api/channel/", {"id": now.id, **differences(now, wanted)})
        after = self.get(now.id)
        self._compare(after, wanted)
        return after

    def delete(self, number: int) -> None:
        """Take a channel of ours away."""
        self._admin("DELETE", f"/api/channel/{number}")

    def test(self, number: int, model: str) -> Tested:
        """Let the gateway ask its upstream; works for a channel that is switched off. It proves no routing.

        The gateway sets no limit on the answer, so a model that does not stop by itself runs into our time-out.
        """
        path = f"/api/channel/test/{number}?model={quote(model, safe='')}"
        document = self._document(self._send("GET", path, read_seconds=TEST_SECONDS), f"GET {path}")
        words = self._hide(str(document.get("message") or ""))
        ok = document.get("success") is True and bool(words.strip())
        return Tested(ok, words, float(document.get("time") or 0))

    def options(self) -> dict[str, str]:
        """The gateway's options; empty where the token is not root's."""
        try:
            rows = self._rows("/api/option/")
        except ServerError:
            return {}
        return {str(row.get("key")): str(row.get("value")) for row in rows}

    def ask(self, model: str, *, channel: int | None = None) -> Said:
        """Ask through the relay as a client does, or through one channel (an admin's key may name it)."""
        if self._key is None:
            raise ServerError("no client key to ask with", hint=f"export {KEY}=... or {KEY}_FILE=FILE")
        key = self._key.reveal() + (f"-{channel}" if channel is not None else "")
        reply = self._transport.request(
            "POST",
            "/v1/chat/completions",
            json={
                "model": model,
                "messages": [{"role": "user", "content": ASK}],
                "temperature": 0,
                "max_tokens": ASK_TOKENS,
            },
            headers={"Authorization": f"Bearer sk-{key}"},
        )
        said = _said(reply)
        if said.status == 401:
            raise ServerError(
                "the gateway does not know the client key",
                where=self._hide(said.problem),
                hint=f"{KEY} is a key of its tokens page, not the access token",
                status=401,
            )
        return Said(said.status, self._hide(said.text), said.model, self._hide(said.problem))

    def _rows(self, path: str) -> list[Mapping[str, Any]]:
        rows = self._admin("GET", path)
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def _admin(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._data(self._send(method, path, body), f"{method} {path}")

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, read_seconds: float | None = ADMIN_SECONDS
    ) -> Reply:
        # "Bearer" is taken by One-API and its relatives alike.
        headers = {"Authorization": f"Bearer {self._token.reveal()}"}
        return self._transport.request(method, path, json=body, headers=headers, read_seconds=read_seconds)

    def _data(self, reply: Reply, call: str) -> Any:
        document = self._document(reply, call)
        if document.get("success") is True:
            return document.get("data")
        words = self._hide(str(document.get("message") or "no reason given"))
        hint = ""
        if reply.status == 401 or "access token" in words:
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

    def _compare(self, now: Channel, wanted: Channel) -> None:
        wrong = differences(now, wanted)
        if wrong:
            raise ServerError(
                "the gateway reported success and did not do it, or another admin was at work",
                where=f"channel {now.id} at {self.url}: {', '.join(sorted(wrong))} not as sent",
                hint="ggship gateway status shows what is there now",
            )

    def _hide(self, text: str) -> str:
        text = self._token.hide_in(text)
        return self._key.hide_in(text) if self._key else text


def _said(reply: Reply) -> Said:
    try:
        document = reply.json()
    except ServerError:
        return Said(reply.status, problem="the answer is not JSON")
    if not isinstance(document, dict):
        return Said(reply.status, problem="the answer is no JSON object")
    error = document.get("error")
    if error:
        words = str(error.get("message") or error.get("code") or "") if isinstance(error, dict) else str(error)
        return Said(reply.status, problem=words or f"HTTP {reply.status}")
    try:
        text = document["choices"][0]["message"]["content"] or ""
    except (KeyError, IndexError, TypeError):
        return Said(reply.status, problem="the answer holds no message")
    problem = "" if str(text).strip() else "the answer is empty"
    return Said(reply.status, str(text), str(document.get("model") or ""), problem)
