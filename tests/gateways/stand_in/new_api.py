"""What new-api does differently: who asks, the shape of lists, the switch, weights, the field that keeps our mark.

Seen on Calcium-Ion/new-api v0.6.3.1.1, which the contract tests ran against. `newer` is from QuantumNous/new-api's
source and issues (#5918, #5894): lists in an object with pages from 1, a wrapped create, a switch of its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .answers import Answer, failed, ok
from .shapes import NEW_CHANNEL

if TYPE_CHECKING:
    from .gateway import StandIn

SMOOTHING = 10  # added to every weight (model/ability.go)
NEW_API_CHANNEL: dict[str, Any] = {
    **{key: value for key, value in NEW_CHANNEL.items() if key not in ("config", "system_prompt")},
    "other": "",
    "openai_organization": None,
    "test_model": None,
    "status_code_mapping": "",
    "auto_ban": 1,
    "other_info": "",
    "tag": None,
    "setting": None,
    "param_override": None,
}


def wrong_user(header: str) -> Answer | None:
    """What is said of the header New-Api-User; None where it is the one user's that the stand-in has."""
    if not header:
        return failed("无权进行此操作，未提供 New-Api-User", status=401)
    if not header.isdigit():
        return failed("无权进行此操作，New-Api-User 格式错误", status=401)
    return None if header == "1" else failed("无权进行此操作，New-Api-User 与登录用户不匹配", status=401)


def answer_new_api(gateway: StandIn, method: str, path: str, query: dict[str, str], body: Any, raw: bytes) -> Answer:
    """One request of an admin: new-api's own answer, else One-API's."""
    from .admin import answer_admin, update_channel

    rows = [{**channel, "key": ""} for _, channel in sorted(gateway.channels.items(), reverse=True)]
    if method == "GET" and path == "/api/channel/":
        size = int(query.get("page_size") or 0)
        page = int(query.get("p") or 0)
        if not gateway.newer:
            return ok(rows[page * size : (page + 1) * size])
        page, size = max(1, page), size or 10
        return ok({"items": rows[(page - 1) * size : page * size], "total": len(rows), "page": page, "page_size": size})
    if method == "GET" and path == "/api/channel/search":
        word = query.get("keyword", "")
        found = [row for row in rows if word in row["name"] or word in row["base_url"]]
        return ok({"items": found, "total": len(found), "type_counts": {}} if gateway.newer else found)
    if method == "POST" and path == "/api/channel/" and gateway.newer:
        if not isinstance(body, dict) or "channel" not in body:
            return failed("无效的参数", status=400)
        return answer_admin(gateway, method, path, query, body["channel"], raw)
    if method == "PUT" and path == "/api/channel/" and gateway.newer and "status" in (body or {}):
        return failed("invalid params")
    if method == "POST" and path.endswith("/status") and gateway.newer:
        number = int(path.split("/")[3])
        found = gateway.channels.get(number)
        if found is None:
            return failed("record not found")
        changed = found["status"] != body["status"]
        update_channel(gateway, {"id": number, "status": body["status"]})
        return ok(changed)
    answer = answer_admin(gateway, method, path, query, body, raw)
    if path.startswith("/api/channel/test/") and isinstance(answer.body, dict) and answer.body.get("success"):
        return Answer(200, {"success": True, "message": "", "time": answer.body["time"]})
    return answer


def weighted(equal: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One of the channels of a tier, by weight."""
    weights = [(channel["weight"] or 0) + SMOOTHING for channel in equal]
    return random.SystemRandom().choices(equal, weights)[0]
