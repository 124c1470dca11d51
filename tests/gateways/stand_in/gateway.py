"""The gateway itself: what it holds in memory, its faults, and the socket it listens on."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .admin import answer_admin, refusal
from .answers import Answer, ok
from .new_api import NEW_API_CHANNEL, answer_new_api, wrong_user
from .relay import answer_relay
from .shapes import ADMIN, COMMON, ENABLED, NEW_CHANNEL, RATIO, ROOT, STATUS, TOKEN
from .upstream import Said


@dataclass(frozen=True)
class Call:
    """A request as it came, for tests to look at."""

    method: str
    path: str
    body: Any


@dataclass
class StandIn:
    """The gateway. `canned` answers for channels whose base_url is in it; all others are really asked, as Ollama.

    Faults to turn on: `deaf` (updates report success and change nothing), `limited` (429 with an empty body),
    `cached` (routing sees channels only as they were at the last `refresh()`), `fault` (what the relay answers whatever
    it is asked), `meddler` (called with each request before it is answered, as another admin at work).
    `new_api`: that family as Calcium-Ion/new-api v0.6.3.1.1 was seen to be; `newer`: with what came later, by its
    source (see new_api.py).
    """

    canned: dict[str, Callable[[str], Said]] = field(default_factory=dict)
    access_tokens: dict[str, int] = field(default_factory=lambda: {"ROOT-TOKEN": ROOT})
    choose: Callable[[Sequence[dict[str, Any]]], dict[str, Any]] = field(default=random.SystemRandom().choice)
    deaf: bool = False
    limited: bool = False
    cached: bool = False
    new_api: bool = False
    newer: bool = False
    fault: Answer | None = None
    meddler: Callable[[Call], None] | None = None
    options: dict[str, str] = field(
        default_factory=lambda: {
            "GroupRatio": '{"default":1,"svip":1,"vip":1}',
            "QuotaPerUnit": "500000",
            "ChannelDisableThreshold": "5",
            "RetryTimes": "0",
            "AutomaticDisableChannelEnabled": "false",
            "AutomaticEnableChannelEnabled": "false",
        }
    )
    channels: dict[int, dict[str, Any]] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fields = NEW_API_CHANNEL if self.new_api else NEW_CHANNEL
        self._last_id = 0
        self._last_log = 0
        self._lock = threading.RLock()
        self.view: list[dict[str, Any]] = []
        self._server: ThreadingHTTPServer | None = None

    # -- the socket

    def start(self) -> str:
        """Listen on a free port of loopback; the address comes back."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Close the socket."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    # -- what tests do by hand, as another admin would in the web page

    def add_key(self, key: str, role: int = ROOT) -> None:
        """A client key, owned by a user of that role."""
        self.keys.append(
            {**TOKEN, "id": len(self.keys) + 1, "key": key, "name": key, "unlimited_quota": True, "_role": role}
        )

    def add_channel(self, **fields: Any) -> int:
        """A channel; its id comes back."""
        with self._lock:
            self._last_id += 1
            kind = 4 if self.new_api else 30
            made = {**self.fields, "created_time": int(time.time()), "key": "foreign-key", "type": kind, **fields}
            self.channels[self._last_id] = {**made, "id": self._last_id}
            return self._last_id

    def refresh(self) -> None:
        """What SYNC_FREQUENCY does with a memory cache: routing sees the channels as they are now."""
        self.view = [dict(channel) for channel in self.channels.values()]

    def writes(self) -> list[Call]:
        """The requests so far that could have changed something."""
        return [call for call in self.calls if call.method != "GET" and not call.path.startswith("/v1/")]

    # -- routing of requests

    def answer(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> Answer:
        """One request, answered as One-API does."""
        split = urlsplit(target)
        path, query = unquote(split.path), {k: v[0] for k, v in parse_qs(split.query, keep_blank_values=True).items()}
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        self.calls.append(Call(method, target, body))
        if self.meddler:
            self.meddler(self.calls[-1])
        if self.limited:
            return Answer(429, "", None)
        token = headers.get("authorization", "")
        if path.startswith("/v1/"):
            return answer_relay(self, method, path, token, body)
        if path == "/api/status":
            extra = {"self_use_mode_enabled": False, "version": "v1.0.0-rc.20"} if self.new_api else {}
            return ok({**STATUS, **extra})
        if path in ("/api/channel", "/api/token"):
            return Answer(307 if method != "GET" else 301, "", None, {"Location": path + "/"})
        refused = refusal(self, token, COMMON if path.startswith(("/api/user/", "/api/token/")) else ADMIN)
        if self.new_api:
            refused = refused or wrong_user(headers.get("new-api-user", ""))
        with self._lock:
            if refused or not self.new_api:
                return refused or answer_admin(self, method, path, query, body, raw)
            return answer_new_api(self, method, path, query, body, raw)

    def models(self) -> list[str]:
        """What some channel answers for now."""
        able = [c for c in self.channels.values() if c["status"] == ENABLED and "default" in c["group"].split(",")]
        return sorted({name for c in able for name in c["models"].split(",")})

    def log(self, kind: int, channel: dict[str, Any], said: Said, started: float, *, stream: bool, token: str) -> None:
        """Note a request, and what it cost."""
        self._last_log += 1
        spent = {"quota": RATIO * (said.prompt_tokens + said.tokens), "prompt_tokens": said.prompt_tokens}
        who = {
            "user_id": 1,
            "username": "root",
            "token_name": token,
            "model_name": said.model,
            "channel": channel["id"],
        }
        self.logs.append(
            {
                "id": self._last_log,
                "created_at": int(time.time()),
                "type": kind,
                **who,
                **spent,
                "completion_tokens": said.tokens,
                "content": "倍率：30.00 × 1.00 × 1.00",
                "request_id": uuid.uuid4().hex,
                "elapsed_time": max(1, round((time.monotonic() - started) * 1000)),
                "is_stream": stream,
                "system_prompt_reset": False,
            }
        )


def _handler(gateway: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: two would each wait 40 ms for the other side

        def respond(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {key.lower(): value for key, value in self.headers.items()}
            answer = gateway.answer(self.command, self.path, headers, raw)
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, ensure_ascii=False)
            payload = text.encode()
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            if answer.content_type:
                self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_DELETE = respond

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler
