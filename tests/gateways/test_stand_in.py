"""The stand-in gives the answers of a real One-API: 59 recorded exchanges, replayed in their order.

Compared exactly: status, content type, every key of every object, success flags, messages, ids, names, models, groups,
mappings, switches, quotas and log rows. Normalised, because they are of that moment: times (zero or not is kept),
request ids, completion ids, the model's own words in a channel test, the number of pieces of a stream, key order.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

RECORDED = Path(__file__).parent.parent / "data" / "one-api" / "recorded.jsonl"
EXCHANGES = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
# Which of several equal channels the real router drew, by chance, for "relay" and "relay stream".
DRAWN = [6, 5]
MOMENTS = {
    "created_time",
    "test_time",
    "response_time",
    "accessed_time",
    "created_at",
    "created",
    "start_time",
    "elapsed_time",
}


def test_all_of_the_recording_is_replayed() -> None:
    assert len(EXCHANGES) == 59


def test_the_stand_in_answers_as_the_recorded_gateway_did(stand_in_module: Any) -> None:
    drawn = iter(DRAWN)

    def choose(equal: list[dict[str, Any]]) -> dict[str, Any]:
        if len(equal) == 1:
            return equal[0]
        number = next(drawn)
        return next(channel for channel in equal if channel["id"] == number)

    said = {
        "law-ad": stand_in_module.Said("The keeper of the dog is liable.", "law-ad", 33, 9),
        "smol": stand_in_module.Said(_words_of("relay remapped"), "smol", 33, 24),
    }
    gateway = stand_in_module.StandIn(canned={"http://OLLAMA": lambda model: said[model]}, choose=choose)
    url = gateway.start()
    differences = []
    try:
        for number, exchange in enumerate(EXCHANGES):
            if exchange["name"] == "relay":
                gateway.keys[0]["key"] = "PROBE-KEY"  # the recording's word for the key that was made before
            expected = exchange["response"]
            got = _send(url, exchange)
            if exchange["name"].startswith("token"):
                _same_key(got["body"])
            left, right = _normal(expected, exchange["name"]), _normal(got, exchange["name"])
            if left != right:
                differences.append(f"{number} {exchange['name']}\n  recorded {left}\n  stand-in {right}")
    finally:
        gateway.stop()
    assert not differences, "\n".join(differences)


def _words_of(name: str) -> str:
    body = next(exchange for exchange in EXCHANGES if exchange["name"] == name)["response"]["body"]
    words: str = body["choices"][0]["message"]["content"]
    return words


def _send(url: str, exchange: dict[str, Any]) -> dict[str, Any]:
    asked = exchange["request"]
    raw = json.dumps(asked["body"]).encode() if asked["body"] is not None else None
    if exchange["name"] == "create bad json":
        raw = b'{"name":'  # the recording keeps no body that is not JSON; its answer says that it was cut short
    request = urllib.request.Request(url + asked["path"], raw, asked["headers"], method=asked["method"])
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    try:
        reply = opener.open(request, timeout=20)
    except urllib.error.HTTPError as error:
        reply = error
    with reply:
        text, kind = reply.read().decode(), reply.headers.get("Content-Type")
    return {"status": reply.status, "content_type": kind, "body": json.loads(text) if "json" in (kind or "") else text}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def _same_key(body: dict[str, Any]) -> None:
    for token in body["data"] if isinstance(body["data"], list) else [body["data"]]:
        token["key"] = "PROBE-KEY"


def _normal(value: Any, name: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {k: _normal(v, name, k) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return [_normal(item, name, key) for item in value]
    if key in MOMENTS:
        return value > 0 if isinstance(value, int) else value
    if key == "time":
        return value > 0
    if key == "request_id" or (key == "id" and isinstance(value, str) and value.startswith("chatcmpl-")):
        return f"{key} of that moment"
    if key == "message" and name.startswith("test") and isinstance(value, str) and value.endswith("."):
        return "the model's words"
    if key == "body" and name == "relay stream":
        return _normal_stream(value)
    if isinstance(value, str):
        return re.sub(r"\(request id: \d+\)", "(request id)", value)
    return value


def _normal_stream(text: str) -> Any:
    """The shape of the first and the last piece, the marker of the end, and the text of all pieces together."""
    assert text.endswith("\n\n")
    *chunks, end = [line.removeprefix("data: ") for line in text.strip().split("\n\n")]
    pieces = [json.loads(chunk) for chunk in chunks]
    whole = "".join(piece["choices"][0]["delta"]["content"] for piece in pieces)
    for piece in pieces:
        piece["choices"][0]["delta"].pop("content")
    return [_normal(pieces[0], ""), _normal(pieces[-1], ""), end, whole]


@pytest.mark.parametrize("path", ["/api/channel", "/api/token"])
def test_without_the_slash_it_redirects(gateway: Any, path: str) -> None:
    running, _ = gateway
    assert running.answer("GET", path, {"authorization": "ROOT-TOKEN"}, b"").status == 301
