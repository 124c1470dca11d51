"""The relay: whose key it is, which channel takes the request, and what comes back."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from .answers import Answer, openai_error, relay_error
from .new_api import weighted
from .shapes import ADMIN, ENABLED, RATIO
from .upstream import OPENAI, UpstreamFailed, ask_upstream, upstream_name

if TYPE_CHECKING:
    from .gateway import StandIn


def answer_relay(gateway: StandIn, method: str, path: str, header: str, body: Any) -> Answer:
    """One request of a client, answered by a model or refused."""
    if not header:
        return relay_error(401, "未提供令牌")
    owner, pin = _owner(gateway, header.removeprefix("Bearer ").removeprefix("sk-"))
    if owner is None:
        return relay_error(401, "无效的令牌")
    if (method, path) == ("GET", "/v1/models"):
        rows = [{"id": name, "object": "model", "created": 1626777600, "root": name} for name in gateway.models()]
        return Answer(
            200,
            {
                "object": "list",
                "data": [{**r, "owned_by": "custom", "permission": None, "parent": None} for r in rows],
            },
        )
    if (method, path) != ("POST", "/v1/chat/completions"):
        return openai_error(404, f"Invalid URL ({method} {path})", "invalid_request_error", param="", code="")
    if gateway.fault is not None:
        return gateway.fault
    model = (body or {}).get("model", "")
    if pin:
        if owner["_role"] < ADMIN:
            return relay_error(403, "普通用户不支持指定渠道")
        channel = gateway.channels.get(int(pin)) if pin.isdigit() else None
        if channel is None:
            return relay_error(400, "无效的渠道 Id")
        if channel["status"] != ENABLED:
            return relay_error(403, "该渠道已被禁用")
    else:
        channel = _route(gateway, model)
        if channel is None:
            return relay_error(503, f"当前分组 default 下对于模型 {model} 无可用渠道")
    return _ask(gateway, channel, body, owner)


def _owner(gateway: StandIn, given: str) -> tuple[dict[str, Any] | None, str]:
    """Whose key this is, and the channel that it is pinned to (KEY-ID); empty where it is not."""
    for known in gateway.keys:
        if given == known["key"] or given.startswith(known["key"] + "-"):
            return known, given.removeprefix(known["key"]).removeprefix("-")
    return None, ""


def _route(gateway: StandIn, model: str) -> dict[str, Any] | None:
    view = gateway.view if gateway.cached else list(gateway.channels.values())
    able = [
        c
        for c in view
        if c["status"] == ENABLED and model in c["models"].split(",") and "default" in c["group"].split(",")
    ]
    top = max((c["priority"] or 0 for c in able), default=0)
    best = [c for c in able if (c["priority"] or 0) == top]
    if best and gateway.new_api:
        return weighted(best)
    return gateway.choose(best) if best else None


def _ask(gateway: StandIn, channel: dict[str, Any], body: dict[str, Any], owner: dict[str, Any]) -> Answer:
    model = upstream_name(channel, body["model"])
    started = time.monotonic()
    # Type 30 passes these on and silently drops the rest: stop, tools, response_format.
    options = {k: body[k] for k in ("temperature", "top_p", "seed", "num_ctx") if k in body}
    if gateway.new_api and "stop" in body:
        options["stop"] = body["stop"]
    options |= {"num_predict": body["max_tokens"]} if "max_tokens" in body else {}
    sent = {"model": model, "messages": body["messages"], "options": options}
    try:
        said = ask_upstream(gateway.canned, channel, {**body, "model": model} if channel["type"] == OPENAI else sent)
    except UpstreamFailed as failure:
        if failure.status:
            extra = {"param": str(failure.status), "code": "bad_response_status_code"}
            return relay_error(failure.status, "", "upstream_error", **extra)
        return relay_error(500, str(failure), param="", code="do_request_failed")
    channel["used_quota"] += RATIO * (said.prompt_tokens + said.tokens)
    gateway.log(2, channel, said, started, stream=bool(body.get("stream")), token=owner["name"])
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


def _pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [word if not number else f" {word}" for number, word in enumerate(words)]


def _chunk_head() -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk"}


def _choice(text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": {"role": "assistant", "content": text}} | ({"finish_reason": finish} if finish else {})
