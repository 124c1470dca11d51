"""The admin API: channels, keys, options, logs."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from .answers import Answer, failed, ok, openai_error
from .shapes import ENABLED, NO_CHANNEL, POINTER_FIELDS, ROOT, TOKEN, USER
from .upstream import Said, UpstreamFailed, ask_upstream, upstream_name

if TYPE_CHECKING:
    from .gateway import StandIn

PAGE = 10


def refusal(gateway: StandIn, header: str, needed: int) -> Answer | None:
    """What whoever sent that header is told where the role that is needed is not his; None where it is."""
    if not header:
        return failed("无权进行此操作，未登录且未提供 access token", status=401)
    role = gateway.access_tokens.get(header.removeprefix("Bearer "))
    if role is None:
        return failed("无权进行此操作，access token 无效")
    return None if role >= needed else failed("无权进行此操作，权限不足")


def answer_admin(gateway: StandIn, method: str, path: str, query: dict[str, str], body: Any, raw: bytes) -> Answer:
    """One request of an admin, answered."""
    head, _, rest = path.removeprefix("/api/").partition("/")
    if head == "channel":
        answer = _channel(gateway, method, rest, query, body, raw)
    elif (method, head) == ("GET", "option"):
        answer = ok([{"key": key, "value": value} for key, value in gateway.options.items()])
    elif (method, head) == ("GET", "log"):
        kind = int(query.get("type", 0))
        logs = [{**log, "created_at": log["created_at"]} for log in gateway.logs if kind in (0, log["type"])]
        answer = ok(sorted(logs, key=lambda log: -log["id"])[:PAGE])
    elif (method, path) == ("GET", "/api/user/self"):
        answer = ok({"id": 1, "username": "root", "display_name": "Root User", "role": ROOT, **USER})
    elif (method, path) == ("GET", "/api/user/available_models"):
        answer = ok(gateway.models())
    elif (method, path) == ("POST", "/api/token/"):
        key = {**TOKEN, **body, "id": len(gateway.keys) + 1, "key": uuid.uuid4().hex}
        gateway.keys.append({**key, "created_time": int(time.time()), "accessed_time": int(time.time()), "_role": ROOT})
        answer = ok(_shown(gateway.keys[-1]))
    elif (method, path) == ("GET", "/api/token/"):
        answer = ok([_shown(key) for key in gateway.keys])
    else:
        answer = None
    return answer or openai_error(404, f"Invalid URL ({method} {path})", "invalid_request_error", param="", code="")


def _channel(gateway: StandIn, method: str, rest: str, query: dict[str, str], body: Any, raw: bytes) -> Answer | None:
    newest_first = [{**channel, "key": ""} for _, channel in sorted(gateway.channels.items(), reverse=True)]
    if method == "GET" and rest == "":
        page = max(0, int(query.get("p") or 0))
        return ok(newest_first[page * PAGE : (page + 1) * PAGE])
    if method == "GET" and rest == "search":
        word = query.get("keyword", "")
        number = int(word) if word.isdigit() else 0
        return ok([c for c in reversed(newest_first) if c["id"] == number or c["name"].startswith(word)])
    if method == "GET" and rest.startswith("test/"):
        return _test(gateway, int(rest.removeprefix("test/")), query.get("model", ""))
    if method == "GET" and rest.isdigit():
        found = gateway.channels.get(int(rest))
        return ok({**found, "key": ""}) if found else failed("record not found")
    if method == "POST" and rest == "":
        return _create(gateway, body, raw)
    if method == "PUT" and rest == "":
        return update_channel(gateway, body or {})
    if method == "DELETE" and rest == "disabled":
        gone = [number for number, channel in gateway.channels.items() if channel["status"] in (2, 3)]
        for number in gone:
            del gateway.channels[number]
        return ok(len(gone))
    if method == "DELETE" and rest.isdigit():
        gateway.channels.pop(int(rest), None)
        return Answer(200, {"success": True, "message": ""})
    return None


def _create(gateway: StandIn, body: Any, raw: bytes) -> Answer:
    if body is None:
        return failed("unexpected EOF" if raw else "EOF")
    keys = [key for key in body.get("key", "").split("\n") if key]
    if not keys:
        return failed("empty slice found")
    known = {name: value for name, value in body.items() if name in gateway.fields and name != "id"}
    known.update(status=known.get("status") or ENABLED, group=known.get("group") or "default")
    for key in keys:
        gateway.add_channel(**{**known, "key": key})
    return Answer(200, {"success": True, "message": ""})


def update_channel(gateway: StandIn, patch: dict[str, Any]) -> Answer:
    if not patch.get("id"):
        return failed("WHERE conditions required")
    change = {k: v for k, v in patch.items() if k in gateway.fields and (v or (k in POINTER_FIELDS and v is not None))}
    found = gateway.channels.get(patch["id"])
    if found is None:
        return ok({**NO_CHANNEL, "status": 0, **change})
    if not gateway.deaf:
        found.update(change)
    return ok(dict(found))


def _test(gateway: StandIn, number: int, asked: str) -> Answer:
    channel = gateway.channels.get(number)
    if channel is None:
        return failed("record not found")
    model = asked if asked and asked in channel["models"] else channel["models"].split(",")[0]
    model = upstream_name(channel, model)
    started = time.monotonic()
    tail: dict[str, Any] = {"modelName": asked, "time": 0}
    try:
        asked_for = {"model": model, "messages": [{"role": "user", "content": "Your name?"}]}
        said = ask_upstream(gateway.canned, channel, asked_for)
    except UpstreamFailed as failure:
        words = f"http status code: {failure.status}" if failure.status else str(failure)
        answer = Answer(200, {"success": False, "message": words, **tail})
    else:
        tail["time"] = max(1, round((time.monotonic() - started) * 1000)) / 1000
        answer = Answer(200, {"success": True, "message": said.text, **tail})
    channel.update(test_time=int(time.time()), response_time=round(tail["time"] * 1000))
    gateway.log(5, channel, Said("", model, 0, 0), started, stream=False, token="")
    return answer


def _shown(key: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if not name.startswith("_")}
