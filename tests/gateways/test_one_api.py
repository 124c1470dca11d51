"""The One-API client: answers that only look like success, odd answers, and secrets that stay where they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ggship.errors import ServerError, ServerUnreachable
from ggship.gateways import OneApi, Secret
from ggship.gateways.model import Channel, Route, differences, to_json
from ggship.transport import Reply, Sent, Transport

TOKEN, KEY, CHANNEL_KEY = "TOKENMARKER", "KEYMARKER", "CHANNELKEYMARKER"


def answering(reply: Reply) -> OneApi:
    return OneApi(Transport("http://gw.test", handler=lambda sent: reply), Secret(TOKEN), Secret(KEY))


def envelope(data: Any, **more: Any) -> Reply:
    return Reply(200, json.dumps({"success": True, "message": "", "data": data, **more}).encode())


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, b"<html>hello</html>"), "no answer of a One-API"),
        (Reply(200, b'{"data": {}}'), "no answer of a One-API"),
        (Reply(502, b"Bad Gateway"), "no answer of a One-API"),
        (Reply(200, b'{"success": true, "message": "", "data": []}'), "this is no One-API"),
        (Reply(302, b"", {"location": "https://elsewhere.test/"}), "sends us elsewhere"),
        (Reply(429), "no more calls"),
    ],
)
def test_what_is_no_one_api_is_said_to_be_none(reply: Reply, words: str) -> None:
    with pytest.raises(ServerError, match=words):
        answering(reply).status()


def test_nothing_there() -> None:
    with pytest.raises(ServerUnreachable):
        OneApi(Transport("http://127.0.0.1:1"), Secret(TOKEN)).status()


def test_a_refusal_inside_a_200_is_a_refusal(gateway: Any) -> None:
    _, url = gateway
    with pytest.raises(ServerError, match="record not found"):
        OneApi(Transport(url), Secret("ROOT-TOKEN")).get(99999)


def test_an_unknown_channel_is_not_updated_into_being(gateway: Any) -> None:
    running, url = gateway
    wanted = Route("n", "n", "n", "http://ollama.test:11434").channel(99999)
    with pytest.raises(ServerError, match="record not found"):
        OneApi(Transport(url), Secret("ROOT-TOKEN")).update(wanted, wanted)
    assert running.writes() == []


def test_search_finds_exact_names_only(gateway: Any) -> None:
    running, url = gateway
    running.add_channel(name="ggship:law-helper-2")
    second = running.add_channel(name="2")
    one_api = OneApi(Transport(url), Secret("ROOT-TOKEN"))
    assert one_api.find("ggship:law-helper") == []
    assert [channel.id for channel in one_api.find("2")] == [second]


def test_a_create_that_reports_success_and_makes_nothing_is_found_out() -> None:
    def forgetful(sent: Sent) -> Reply:
        return envelope([] if sent.method == "GET" else None)

    one_api = OneApi(Transport("http://gw.test", handler=forgetful), Secret(TOKEN))
    with pytest.raises(ServerError, match="it is not there"):
        one_api.create(Route("n", "n", "n", "http://o").channel())


def test_the_plain_key_in_an_updates_answer_never_comes_out(gateway: Any) -> None:
    running, url = gateway
    number = running.add_channel(name="x", key=CHANNEL_KEY, base_url="http://ollama.test:11434", config="{}")
    one_api = OneApi(Transport(url), Secret("ROOT-TOKEN"))
    now = one_api.get(number)
    running.deaf = True
    with pytest.raises(ServerError) as caught:
        one_api.update(now, Route("n", "n", "n", "http://o").channel(number))
    assert CHANNEL_KEY not in f"{caught.value!r} {caught.value.where} {caught.value.hint} {now!r}"


def test_a_broken_answer_to_an_update_shows_none_of_its_body() -> None:
    raw = json.dumps({"id": 1, "name": "n"})

    def cut_off(sent: Sent) -> Reply:
        if sent.method == "GET":
            return Reply(200, f'{{"success": true, "data": {raw}}}'.encode())
        return Reply(200, f'{{"success": true, "data": {{"key": "{CHANNEL_KEY}"'.encode())

    one_api = OneApi(Transport("http://gw.test", handler=cut_off), Secret(TOKEN), Secret(KEY))
    with pytest.raises(ServerError) as caught:
        one_api.update(one_api.get(1), Route("n", "n", "n", "http://o").channel(1))
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert CHANNEL_KEY not in " ".join(repr(getattr(e, "__dict__", "")) + str(e) for e in chain)


def test_a_gateway_that_repeats_our_secrets_does_not_get_them_printed() -> None:
    echo = Reply(200, json.dumps({"success": False, "message": f"bad {TOKEN} and {KEY}"}).encode())
    with pytest.raises(ServerError) as caught:
        answering(echo).channels()
    assert TOKEN not in str(caught.value)
    assert KEY not in str(caught.value)
    refused = Reply(403, json.dumps({"error": {"message": f"sk-{KEY} has no quota"}}).encode())
    assert KEY not in answering(refused).ask("m").problem


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"oops", "not JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "no message"),
        (b'{"choices": [{"message": {"content": "  "}}]}', "empty"),
        (b'{"error": "plain words"}', "plain words"),
    ],
)
def test_an_answer_without_words_is_none(body: bytes, words: str) -> None:
    said = answering(Reply(200, body)).ask("m")
    assert not said.ok
    assert words in said.problem


def test_nothing_differs_from_itself_however_the_gateway_writes_it() -> None:
    wanted = Route("n", "pub", "m:v1", "http://o/", digest="d").channel(7)
    written = {**to_json(wanted), "id": 7, "base_url": "http://o/", "models": " pub ", "group": "default"}
    written["model_mapping"] = '{ "pub" :"m:v1"}'
    assert differences(Channel.of(written), wanted) == {}
    assert differences(Channel.of({**written, "model_mapping": None}), wanted).keys() == {"model_mapping"}
    plain = Route("n", "m", "m", "http://o").channel(7)
    assert differences(Channel.of({**to_json(plain), "id": 7, "model_mapping": None}), plain) == {}
