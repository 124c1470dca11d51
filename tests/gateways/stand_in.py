"""A One-API stand-in on a real socket: the admin and relay answers of the real gateway, channels kept in memory.

It is held to 59 recorded exchanges of a real One-API by test_stand_in.py. It has the quirks that hurt clients: errors
as 200 with `success: false`, no id after a create, names that are not unique, updates that skip zero values, updates
of nothing that succeed, an update's answer that carries the key in plain text, a prefix search.
"""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = 10
ENABLED = 1
ROOT, ADMIN, COMMON = 100, 10, 1
RATIO = 30  # what One-API charges for a model it has no price for
# PUT updates a struct: only these fields are pointers, which can be set to their zero value.
POINTER_FIELDS = {"weight", "base_url", "other", "model_mapping", "priority", "system_prompt"}
NEW_CHANNEL: dict[str, Any] = {
    "id": 0,
    "type": 0,
    "key": "",
    "status": 1,
    "name": "",
    "weight": 0,
    "created_time": 0,
    "test_time": 0,
    "response_time": 0,
    "base_url": "",
    "other": None,
    "balance": 0,
    "balance_updated_time": 0,
    "models": "",
    "group": "default",
    "used_quota": 0,
    "model_mapping": "",
    "priority": 0,
    "config": "",
    "system_prompt": None,
}
NO_CHANNEL = {**NEW_CHANNEL, "weight": None, "base_url": None, "group": "", "model_mapping": None, "priority": None}
STATUS: dict[str, Any] = {
    "chat_link": "",
    "display_in_currency": True,
    "email_verification": False,
    "footer_html": "",
    "logo": "",
    "github_client_id": "",
    "github_oauth": False,
    "lark_client_id": "",
    "oidc": False,
    "oidc_client_id": "",
    "oidc_authorization_endpoint": "",
    "oidc_token_endpoint": "",
    "oidc_userinfo_endpoint": "",
    "oidc_well_known": "",
    "quota_per_unit": 500000,
    "server_address": "http://localhost:3000",
    "start_time": 1,
    "system_name": "One API",
    "top_up_link": "",
    "turnstile_check": False,
    "turnstile_site_key": "",
    "version": "v0.6.11",
    "wechat_login": False,
    "wechat_qrcode": "",
}
USER: dict[str, Any] = {
    "password": "",
    "status": 1,
    "email": "",
    "github_id": "",
    "wechat_id": "",
    "lark_id": "",
    "oidc_id": "",
    "verification_code": "",
    "access_token": "",
    "quota": 500000000000000,
    "used_quota": 0,
    "request_count": 0,
    "group": "default",
    "aff_code": "",
    "inviter_id": 0,
}
TOKEN: dict[str, Any] = {
    "id": 0,
    "user_id": 1,
    "key": "",
    "status": 1,
    "name": "",
    "created_time": 0,
    "accessed_time": 0,
    "expired_time": 0,
    "remain_quota": 0,
    "unlimited_quota": False,
    "used_quota": 0,
    "models": None,
    "subnet": "",
}


@dataclass(frozen=True)
class Said:
    """An answer of the model behind a channel."""

    text: str
    model: str
    prompt_tokens: int = 33
    tokens: int = 9


class UpstreamFailed(Exception):
    """The model behind the channel gave no answer: `status` 0 where nothing answered at all."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Answer:
    """What goes back over the socket. `body` is sent as JSON, or as it is where it is text."""

    status: int
    body: Any
    content_type: str | None = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


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
    `cached` (routing sees channels only as they were at the last `refresh()`), `new_api` (the status of that family).
    """

    canned: dict[str, Callable[[str], Said]] = field(default_factory=dict)
    access_tokens: dict[str, int] = field(default_factory=lambda: {"ROOT-TOKEN": ROOT})
    choose: Callable[[Sequence[dict[str, Any]]], dict[str, Any]] = field(default=random.SystemRandom().choice)
    deaf: bool = False
    limited: bool = False
    cached: bool = False
    new_api: bool = False
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
        self._last_id = 0
        self._last_log = 0
        self._lock = threading.RLock()
        self._view: list[dict[str, Any]] = []
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
            made = {**NEW_CHANNEL, "created_time": int(time.time()), "key": "foreign-key", "type": 30, **fields}
            self.channels[self._last_id] = {**made, "id": self._last_id}
            return self._last_id

    def refresh(self) -> None:
        """What SYNC_FREQUENCY does with a memory cache: routing sees the channels as they are now."""
        self._view = [dict(channel) for channel in self.channels.values()]

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
        if self.limited:
            return Answer(429, "", None)
        token = headers.get("authorization", "")
        if path.startswith("/v1/"):
            return self._relay(method, path, token, body)
        if path == "/api/status":
            extra = {"self_use_mode_enabled": False, "version": "v1.0.0-rc.20"} if self.new_api else {}
            return _ok({**STATUS, **extra})
        if path in ("/api/channel", "/api/token"):
            return Answer(307 if method != "GET" else 301, "", None, {"Location": path + "/"})
        refusal = self._admin(token, COMMON if path.startswith(("/api/user/", "/api/token/")) else ADMIN)
        with self._lock:
            return refusal or self._api(method, path, query, body, raw)

    def _admin(self, header: str, needed: int) -> Answer | None:
        if not header:
            return _failed("无权进行此操作，未登录且未提供 access token", status=401)
        role = self.access_tokens.get(header.removeprefix("Bearer "))
        if role is None:
            return _failed("无权进行此操作，access token 无效")
        return None if role >= needed else _failed("无权进行此操作，权限不足")

    def _api(self, method: str, path: str, query: dict[str, str], body: Any, raw: bytes) -> Answer:
        head, _, rest = path.removeprefix("/api/").partition("/")
        if head == "channel":
            answer = self._channel(method, rest, query, body, raw)
        elif (method, head) == ("GET", "option"):
            answer = _ok([{"key": key, "value": value} for key, value in self.options.items()])
        elif (method, head) == ("GET", "log"):
            kind = int(query.get("type", 0))
            logs = [{**log, "created_at": log["created_at"]} for log in self.logs if kind in (0, log["type"])]
            answer = _ok(sorted(logs, key=lambda log: -log["id"])[:PAGE])
        elif (method, path) == ("GET", "/api/user/self"):
            answer = _ok({"id": 1, "username": "root", "display_name": "Root User", "role": ROOT, **USER})
        elif (method, path) == ("GET", "/api/user/available_models"):
            answer = _ok(self._models())
        elif (method, path) == ("POST", "/api/token/"):
            key = {**TOKEN, **body, "id": len(self.keys) + 1, "key": uuid.uuid4().hex}
            self.keys.append(
                {**key, "created_time": int(time.time()), "accessed_time": int(time.time()), "_role": ROOT}
            )
            answer = _ok(_shown(self.keys[-1]))
        elif (method, path) == ("GET", "/api/token/"):
            answer = _ok([_shown(key) for key in self.keys])
        else:
            answer = None
        return answer or _openai_error(
            404, f"Invalid URL ({method} {path})", "invalid_request_error", param="", code=""
        )

    # -- channels

    def _channel(self, method: str, rest: str, query: dict[str, str], body: Any, raw: bytes) -> Answer | None:
        newest_first = [{**channel, "key": ""} for _, channel in sorted(self.channels.items(), reverse=True)]
        if method == "GET" and rest == "":
            page = max(0, int(query.get("p") or 0))
            return _ok(newest_first[page * PAGE : (page + 1) * PAGE])
        if method == "GET" and rest == "search":
            word = query.get("keyword", "")
            number = int(word) if word.isdigit() else 0
            return _ok([c for c in reversed(newest_first) if c["id"] == number or c["name"].startswith(word)])
        if method == "GET" and rest.startswith("test/"):
            return self._test(int(rest.removeprefix("test/")), query.get("model", ""))
        if method == "GET" and rest.isdigit():
            found = self.channels.get(int(rest))
            return _ok({**found, "key": ""}) if found else _failed("record not found")
        if method == "POST" and rest == "":
            return self._create(body, raw)
        if method == "PUT" and rest == "":
            return self._update(body or {})
        if method == "DELETE" and rest == "disabled":
            gone = [number for number, channel in self.channels.items() if channel["status"] in (2, 3)]
            for number in gone:
                del self.channels[number]
            return _ok(len(gone))
        if method == "DELETE" and rest.isdigit():
            self.channels.pop(int(rest), None)
            return Answer(200, {"success": True, "message": ""})
        return None

    def _create(self, body: Any, raw: bytes) -> Answer:
        if body is None:
            return _failed("unexpected EOF" if raw else "EOF")
        keys = [key for key in body.get("key", "").split("\n") if key]
        if not keys:
            return _failed("empty slice found")
        known = {name: value for name, value in body.items() if name in NEW_CHANNEL and name != "id"}
        known.update(status=known.get("status") or ENABLED, group=known.get("group") or "default")
        for key in keys:
            self.add_channel(**{**known, "key": key})
        return Answer(200, {"success": True, "message": ""})

    def _update(self, patch: dict[str, Any]) -> Answer:
        if not patch.get("id"):
            return _failed("WHERE conditions required")
        change = {k: v for k, v in patch.items() if k in NEW_CHANNEL and (v or (k in POINTER_FIELDS and v is not None))}
        found = self.channels.get(patch["id"])
        if found is None:
            return _ok({**NO_CHANNEL, "status": 0, **change})
        if not self.deaf:
            found.update(change)
        return _ok(dict(found))

    def _test(self, number: int, asked: str) -> Answer:
        channel = self.channels.get(number)
        if channel is None:
            return _failed("record not found")
        model = asked if asked and asked in channel["models"] else channel["models"].split(",")[0]
        model = _mapping(channel).get(model) or model
        started = time.monotonic()
        tail: dict[str, Any] = {"modelName": asked, "time": 0}
        try:
            said = self._upstream(channel, {"model": model, "messages": [{"role": "user", "content": "Your name?"}]})
        except UpstreamFailed as failure:
            words = f"http status code: {failure.status}" if failure.status else str(failure)
            answer = Answer(200, {"success": False, "message": words, **tail})
        else:
            tail["time"] = max(1, round((time.monotonic() - started) * 1000)) / 1000
            answer = Answer(200, {"success": True, "message": said.text, **tail})
        channel.update(test_time=int(time.time()), response_time=round(tail["time"] * 1000))
        self._log(5, channel, Said("", model, 0, 0), started, stream=False, token="")
        return answer

    # -- the relay

    def _relay(self, method: str, path: str, header: str, body: Any) -> Answer:
        if not header:
            return _relay_error(401, "未提供令牌")
        owner, pin = self._owner(header.removeprefix("Bearer ").removeprefix("sk-"))
        if owner is None:
            return _relay_error(401, "无效的令牌")
        if (method, path) == ("GET", "/v1/models"):
            rows = [{"id": name, "object": "model", "created": 1626777600, "root": name} for name in self._models()]
            return Answer(
                200,
                {
                    "object": "list",
                    "data": [{**r, "owned_by": "custom", "permission": None, "parent": None} for r in rows],
                },
            )
        if (method, path) != ("POST", "/v1/chat/completions"):
            return _openai_error(404, f"Invalid URL ({method} {path})", "invalid_request_error", param="", code="")
        model = (body or {}).get("model", "")
        if pin:
            if owner["_role"] < ADMIN:
                return _relay_error(403, "普通用户不支持指定渠道")
            channel = self.channels.get(int(pin)) if pin.isdigit() else None
            if channel is None:
                return _relay_error(400, "无效的渠道 Id")
            if channel["status"] != ENABLED:
                return _relay_error(403, "该渠道已被禁用")
        else:
            channel = self._route(model)
            if channel is None:
                return _relay_error(503, f"当前分组 default 下对于模型 {model} 无可用渠道")
        return self._ask(channel, body, owner)

    def _owner(self, given: str) -> tuple[dict[str, Any] | None, str]:
        """Whose key this is, and the channel that it is pinned to (KEY-ID); empty where it is not."""
        for known in self.keys:
            if given == known["key"] or given.startswith(known["key"] + "-"):
                return known, given.removeprefix(known["key"]).removeprefix("-")
        return None, ""

    def _route(self, model: str) -> dict[str, Any] | None:
        view = self._view if self.cached else list(self.channels.values())
        able = [
            c
            for c in view
            if c["status"] == ENABLED and model in c["models"].split(",") and "default" in c["group"].split(",")
        ]
        top = max((c["priority"] or 0 for c in able), default=0)
        best = [c for c in able if (c["priority"] or 0) == top]
        return self.choose(best) if best else None

    def _models(self) -> list[str]:
        able = [c for c in self.channels.values() if c["status"] == ENABLED and "default" in c["group"].split(",")]
        return sorted({name for c in able for name in c["models"].split(",")})

    def _ask(self, channel: dict[str, Any], body: dict[str, Any], owner: dict[str, Any]) -> Answer:
        model = _mapping(channel).get(body["model"]) or body["model"]
        started = time.monotonic()
        # Type 30 passes these on and silently drops the rest: stop, tools, response_format.
        options = {k: body[k] for k in ("temperature", "top_p", "seed", "num_ctx") if k in body}
        options |= {"num_predict": body["max_tokens"]} if "max_tokens" in body else {}
        try:
            said = self._upstream(channel, {"model": model, "messages": body["messages"], "options": options})
        except UpstreamFailed as failure:
            if failure.status:
                extra = {"param": str(failure.status), "code": "bad_response_status_code"}
                return _relay_error(failure.status, "", "upstream_error", **extra)
            return _relay_error(500, str(failure), param="", code="do_request_failed")
        channel["used_quota"] += RATIO * (said.prompt_tokens + said.tokens)
        self._log(2, channel, said, started, stream=bool(body.get("stream")), token=owner["name"])
        head = {"model": said.model, "created": int(time.time())}
        if body.get("stream"):
            chunks = [(piece, None) for piece in _pieces(said.text)] + [("", "stop")]
            lines = [json.dumps({**_chunk_head(), **head, "choices": [_choice(*chunk)]}) for chunk in chunks]
            return Answer(200, "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]), "text/event-stream")
        usage = {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.tokens}
        message = {"role": "assistant", "content": said.text}
        whole = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            **head,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {**usage, "total_tokens": said.prompt_tokens + said.tokens},
        }
        return Answer(200, whole, "application/json")

    def _upstream(self, channel: dict[str, Any], body: dict[str, Any]) -> Said:
        base = channel["base_url"] or "http://localhost:11434"
        if base in self.canned:
            return self.canned[base](body["model"])
        url = f"{base}/api/chat"
        sent = json.dumps({**body, "stream": False}).encode()
        request = urllib.request.Request(url, sent, {"Authorization": f"Bearer {channel['key']}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=300) as reply:
                said = json.load(reply)
        except urllib.error.HTTPError as error:
            raise UpstreamFailed(error.reason, error.code) from error
        except urllib.error.URLError as error:
            words = (
                "connect: connection refused" if isinstance(error.reason, ConnectionRefusedError) else str(error.reason)
            )
            message = f'do request failed: Post "{url}": dial tcp {urlsplit(url).netloc}: {words}'
            raise UpstreamFailed(message) from error
        counts = (said.get("prompt_eval_count", 0), said.get("eval_count", 0))
        return Said(said["message"]["content"], said["model"], *counts)

    def _log(self, kind: int, channel: dict[str, Any], said: Said, started: float, *, stream: bool, token: str) -> None:
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


def _ok(data: Any) -> Answer:
    return Answer(200, {"success": True, "message": "", "data": data})


def _failed(message: str, status: int = 200) -> Answer:
    return Answer(status, {"success": False, "message": message})


def _openai_error(status: int, message: str, kind: str, **more: str) -> Answer:
    return Answer(status, {"error": {"message": message, "type": kind, **more}})


def _relay_error(status: int, message: str, kind: str = "one_api_error", **more: str) -> Answer:
    return _openai_error(status, f"{message} (request id: {time.time_ns()})", kind, **more)


def _shown(key: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if not name.startswith("_")}


def _mapping(channel: dict[str, Any]) -> dict[str, str]:
    mapping: dict[str, str] = json.loads(channel["model_mapping"] or "{}")
    return mapping


def _pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [word if not number else f" {word}" for number, word in enumerate(words)]


def _chunk_head() -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk"}


def _choice(text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": {"role": "assistant", "content": text}} | ({"finish_reason": finish} if finish else {})


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
