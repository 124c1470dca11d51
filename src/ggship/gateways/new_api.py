"""new-api over HTTP: One-API's admin API with other numbers, another switch, other lists, and weights that count.

Source: Calcium-Ion/new-api v0.6.3.1.1, run for real; QuantumNous/new-api by its source and its issues, for what came
later: lists in pages of an object, a wrapped create, and a call of its own to switch a channel (#5918, #5894).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from ggship.errors import ServerError
from ggship.gateways.gateway import Traits
from ggship.gateways.model import OPENAI_TYPE, PLACEHOLDER_KEY, Channel, ChannelId, differences, to_json
from ggship.gateways.one_api import MAX_PAGES, OneApi
from ggship.gateways.secrets import Secret
from ggship.transport import Transport

NEW_API_OLLAMA_TYPE = 4  # constant/channel.go; One-API's 4 is a third party that prompts would be sent to
PAGE = 100
CACHE_SECONDS = 60


class NewApi(OneApi):
    """One new-api. user_id: the number of the user whose token it is; most versions want it in a header of its own."""

    traits: ClassVar[Traits] = Traits(
        "new-api",
        types={"native": NEW_API_OLLAMA_TYPE, "openai": OPENAI_TYPE},
        weights=True,
        lag=CACHE_SECONDS,
    )
    # Its channels have no `config`. This field is JSON, keeps keys that it does not know, and takes what PUT brings.
    config_field = "other_info"
    # A test says nothing but that it went well; and a model without a price is refused, never charged by default.
    tests_speak = False
    default_ratio = 0

    def __init__(self, transport: Transport, token: Secret, key: Secret | None = None, *, user_id: str = "") -> None:
        super().__init__(transport, token, key)
        self._user_id = user_id

    def find(self, name: str) -> list[Channel]:
        """The channels of exactly that name; the gateway's own search takes what contains it."""
        found = [self._channel(row) for row in self._rows(f"/api/channel/search?keyword={quote(name, safe='')}")]
        return [channel for channel in found if channel.name == name]

    def comes_back(self) -> str:
        """Its scheduled tests leave alone what was switched off by hand (controller/channel-test.go)."""
        return ""

    def _headers(self) -> dict[str, str]:
        user = {"New-Api-User": self._user_id} if self._user_id else {}
        return {**super()._headers(), **user}

    def _channel(self, raw: Any) -> Channel:
        """Why and when it was switched is told beside our mark, and changes by itself."""
        found = super()._channel(raw)
        config = {key: value for key, value in found.config.items() if key not in ("status_reason", "status_time")}
        return replace(found, config=config)

    def _pages(self) -> Iterator[Channel]:
        """Old versions list an array, pages from 0; newer ones an object, pages from 1."""
        seen: set[ChannelId] = set()
        first = 0
        for number in range(MAX_PAGES):
            data = self._admin("GET", f"/api/channel/?p={number + first}&page_size={PAGE}&id_sort=true")
            if number == 0 and isinstance(data, dict):
                first = 1  # 0 was taken for 1
            fresh = [row for row in map(self._channel, _items(data)) if row.id not in seen]
            if not fresh:
                return
            seen.update(row.id for row in fresh)
            yield from fresh

    def _rows(self, path: str) -> list[dict[str, Any]]:
        return _items(self._admin("GET", path))

    def _post(self, wanted: Channel) -> None:
        channel = {**self._fields(to_json(wanted)), "key": PLACEHOLDER_KEY, "tag": f"ggship:{wanted.mark.get('name')}"}
        wrapped = isinstance(self._admin("GET", "/api/channel/?p=1&page_size=1"), dict)
        body: Mapping[str, Any] = {"mode": "single", "channel": channel} if wrapped else channel
        self._admin("POST", "/api/channel/", body)

    def _put(self, now: Channel, wanted: Channel) -> None:
        fields = self._fields(differences(now, wanted))
        status = fields.pop("status", None)
        # On: everything else first, so that it is never on as it was before. Off: the switch first.
        if status is not None and not wanted.enabled:
            self._switch(now, status)
        if fields:
            self._admin("PUT", "/api/channel/", {"id": now.id, **fields})
        if status is not None and wanted.enabled:
            self._switch(now, status)

    def _switch(self, channel: Channel, status: int) -> None:
        """The switch of newer versions, which refuse a status in PUT; older ones know no other."""
        path = f"/api/channel/{channel.id}/status"
        reply = self._send("POST", path, {"status": status})
        if reply.status == 404:
            self._admin("PUT", "/api/channel/", {"id": channel.id, "status": status})
            return
        self._data(reply, f"POST {path}")


def _items(data: Any) -> list[dict[str, Any]]:
    rows = data.get("items") if isinstance(data, dict) else data
    if rows is not None and not isinstance(rows, list):
        raise ServerError("this is no list of a new-api", where="GET /api/channel/", hint="check --url and --kind")
    return [row for row in rows or [] if isinstance(row, dict)]
