"""Applying a route and taking it off, through a real socket, against the stand-in held to the recorded One-API."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from ggship.errors import Refused, ServerError, UsageError
from ggship.gateways import OneApi, Route, Secret, apply, off
from ggship.gateways.proving import NotYetRouted
from ggship.transport import Reply, Sent, Transport

UPSTREAM = "http://ollama.test:11434"
ROUTE = Route("law-helper", "law-helper", "law-helper:latest", UPSTREAM, digest="abc")


class FakeClock:
    """Time that passes only in `sleep`; `then` is called at the first one."""

    def __init__(self, then: Any = None) -> None:
        self.seconds = 0.0
        self._then = then

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self._then:
            self._then()


def client(url: str, token: str = "ROOT-TOKEN", key: str | None = "sk-PROBEKEY") -> OneApi:
    return OneApi(Transport(url), Secret(token), Secret(key) if key else None)


def ours(gateway: Any) -> dict[str, Any]:
    (found,) = [channel for channel in gateway.channels.values() if channel["name"].startswith("ggship:")]
    return dict(found)


def route_to(model: str, **more: Any) -> Route:
    return Route(**{"name": "law-helper", "public": "law-helper", "model": model, "upstream": UPSTREAM, **more})


def test_a_new_channel_is_created_off_then_tested_then_switched_on_then_asked(gateway: Any) -> None:
    running, url = gateway
    done = apply(client(url), ROUTE)
    created, enabled = running.writes()
    assert (created.method, created.body["status"], created.body["type"]) == ("POST", 2, 30)
    assert enabled.body == {"id": done.channel.id, "status": 1}
    kinds = [c.path.split("?")[0] for c in running.calls]
    assert kinds.index("/api/channel/test/1") < running.calls.index(enabled) < kinds.index("/v1/chat/completions")
    assert done.created
    assert done.said
    assert done.said.text == "I am law-helper:latest."
    made = ours(running)
    assert (made["status"], made["models"], made["base_url"]) == (1, "law-helper", UPSTREAM)
    assert json.loads(made["model_mapping"]) == {"law-helper": "law-helper:latest"}
    assert json.loads(made["config"])["ggship"]["digest"] == "abc"


def test_applying_twice_writes_nothing(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), ROUTE)
    before = len(running.writes())
    again = apply(client(url), ROUTE)
    assert again.changed == ()
    assert len(running.writes()) == before
    assert again.said
    assert again.said.ok


def test_a_new_release_is_one_small_update_of_the_same_channel(gateway: Any) -> None:
    running, url = gateway
    first = apply(client(url), route_to("law-helper:v1", digest="one"))
    mark = len(running.writes())
    second = apply(client(url), route_to("law-helper:v2", digest="two"))
    assert second.channel.id == first.channel.id
    assert second.changed == ("config", "model_mapping")
    update = next(call for call in running.writes()[mark:] if call.method == "PUT")
    assert set(update.body) == {"id", "config", "model_mapping"}
    assert second.said
    assert second.said.text == "I am law-helper:v2."
    assert len(running.channels) == 1  # the trial is gone


def test_a_release_that_does_not_answer_leaves_the_live_channel_as_it_was(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), route_to("law-helper:v1"))
    before = ours(running)
    with pytest.raises(ServerError, match="no answer from the model"):
        apply(client(url), route_to("gone:v2"))
    after = ours(running)
    assert {**after, "used_quota": 0} == {**before, "used_quota": 0}
    assert client(url).ask("law-helper").model == "law-helper:v1"


def test_a_release_that_answers_the_gateway_but_not_clients_is_set_back(gateway: Any, stand_in_module: Any) -> None:
    running, url = gateway
    apply(client(url), route_to("law-helper:v1"))
    before = ours(running)
    asked: list[str] = []

    def fails_after_the_test(name: str) -> Any:
        asked.append(name)
        if asked.count("law-helper:v2") > 1 and name == "law-helper:v2":
            raise stand_in_module.UpstreamFailed("out of memory", 500)
        return stand_in_module.Said("Yes.", name)

    running.canned[UPSTREAM] = fails_after_the_test
    with pytest.raises(ServerError, match="does not answer"):
        apply(client(url), route_to("law-helper:v2"))
    assert ours(running)["model_mapping"] == before["model_mapping"]
    assert client(url).ask("law-helper").model == "law-helper:v1"


def test_a_new_channel_whose_model_does_not_answer_is_not_left_behind(gateway: Any) -> None:
    running, url = gateway
    with pytest.raises(ServerError) as caught:
        apply(client(url), route_to("gone:v1"))
    assert "404" in caught.value.where
    assert "--upstream" in caught.value.hint
    assert running.channels == {}


def test_a_cleaning_up_that_fails_too_is_told_with_the_first_error(gateway: Any, stand_in_module: Any) -> None:
    running, url = gateway

    def fails_and_takes_the_token_along(name: str) -> Any:
        running.access_tokens.clear()
        raise stand_in_module.UpstreamFailed("not found", 404)

    running.canned[UPSTREAM] = fails_and_takes_the_token_along
    with pytest.raises(ServerError, match="no answer from the model") as caught:
        apply(client(url), ROUTE)
    assert "channel 1 could not be taken away again" in caught.value.where
    assert "gateway status" in caught.value.hint
    assert ours(running)["status"] == 2


def test_a_stop_in_the_middle_leaves_nothing_behind(gateway: Any) -> None:
    running, url = gateway

    def stopped(text: str) -> None:
        if "switching channel" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(client(url), ROUTE, on_step=stopped)
    assert running.channels == {}


def test_an_upstream_where_nothing_listens(gateway: Any) -> None:
    running, url = gateway
    with pytest.raises(ServerError) as caught:
        apply(client(url), route_to("law-helper:v1", upstream="http://127.0.0.1:1"))
    assert "connection refused" in caught.value.where
    assert running.channels == {}


def test_an_update_that_reports_success_and_does_nothing_is_found_out(gateway: Any) -> None:
    running, url = gateway
    running.deaf = True
    with pytest.raises(ServerError, match="reported success") as caught:
        apply(client(url), ROUTE)
    assert "status" in caught.value.where
    assert running.channels == {}


def test_two_channels_of_ours_stop_everything_and_are_listed(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), ROUTE)
    twin = running.add_channel(**{k: v for k, v in ours(running).items() if k != "id"})
    before = len(running.writes())
    for action in (lambda: apply(client(url), ROUTE), lambda: off(client(url), "law-helper")):
        with pytest.raises(Refused) as caught:
            action()
        assert f"channel 1, channel {twin}" in caught.value.where
    assert len(running.writes()) == before


def test_a_channel_of_our_name_that_is_not_ours_is_never_touched(gateway: Any) -> None:
    running, url = gateway
    number = running.add_channel(name="ggship:law-helper", models="law-helper", base_url=UPSTREAM)
    for action in (lambda: apply(client(url), ROUTE), lambda: off(client(url), "law-helper")):
        with pytest.raises(Refused, match="did not make it") as caught:
            action()
        assert f"channel {number}" in caught.value.where
    assert running.writes() == []


def test_channels_of_others_are_never_touched_and_are_named(gateway: Any) -> None:
    running, url = gateway
    foreign = running.add_channel(name="theirs", models="law-helper,other", base_url=UPSTREAM, priority=3)
    longer = running.add_channel(name="ggship:law-helper-2", models="x", base_url=UPSTREAM)
    before = {number: dict(running.channels[number]) for number in (foreign, longer)}
    done = apply(client(url), ROUTE)
    assert done.shared_with == (foreign,)
    assert any(f"channel {foreign}" in warning for warning in done.warnings)
    gone = off(client(url), "law-helper")
    assert gone.still == (foreign,)
    assert any(f"channel {foreign}" in warning for warning in gone.warnings)
    assert {n: {**running.channels[n], "used_quota": 0} for n in before} == before


def test_a_channel_of_others_with_a_higher_priority_is_said_to_take_all(gateway: Any) -> None:
    running, url = gateway
    running.add_channel(name="theirs", models="law-helper", base_url=UPSTREAM, priority=99)
    done = apply(client(url), ROUTE)
    assert any("never asked" in warning for warning in done.warnings)


def test_our_channel_is_found_on_any_page_and_after_it_was_renamed(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), ROUTE)
    running.channels[1]["name"] = "renamed by an admin"
    for number in range(25):
        running.add_channel(name=f"other {number}", models=f"m{number}", base_url=UPSTREAM)
    done = apply(client(url), ROUTE)
    assert (done.channel.id, done.changed) == (1, ("name",))
    assert running.channels[1]["name"] == "ggship:law-helper"


def test_what_an_admin_wrote_into_our_channels_config_stays(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), route_to("law-helper:v1"))
    config = json.loads(running.channels[1]["config"])
    running.channels[1]["config"] = json.dumps({"region": "eu", **config})
    assert apply(client(url), route_to("law-helper:v1")).changed == ()
    apply(client(url), route_to("law-helper:v2"))
    assert json.loads(running.channels[1]["config"])["region"] == "eu"


def test_a_trial_left_by_a_killed_run_is_taken_away(gateway: Any) -> None:
    running, url = gateway
    mark = json.dumps({"ggship": {"name": "law-helper", "trial": True}})
    running.add_channel(name="ggship:law-helper#trial", models="law-helper", status=2, config=mark)
    apply(client(url), ROUTE)
    assert [channel["name"] for channel in running.channels.values()] == ["ggship:law-helper"]


def test_off_ends_the_answers_and_apply_brings_them_back(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), ROUTE)
    gone = off(client(url), "law-helper")
    assert gone.changed
    assert gone.probe.startswith("HTTP 503")
    assert running.writes()[-1].body == {"id": 1, "status": 2}
    writes = len(running.writes())
    again = off(client(url), "law-helper")
    assert (again.changed, len(running.writes())) == (False, writes)
    back = apply(client(url), ROUTE)
    assert back.changed == ("status",)
    assert client(url).ask("law-helper").ok


def test_off_where_there_is_nothing(gateway: Any) -> None:
    running, url = gateway
    assert off(client(url), "law-helper").channel is None
    assert running.writes() == []


def test_off_works_without_a_client_key_and_says_what_was_not_seen(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), ROUTE)
    gone = off(client(url, key=None), "law-helper")
    assert ours(running)["status"] == 2
    assert any("not asked" in warning for warning in gone.warnings)


def test_off_is_an_error_as_long_as_the_gateways_cache_goes_on_answering(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), ROUTE)
    running.cached = True
    running.refresh()
    with pytest.raises(ServerError, match="still answers") as caught:
        off(client(url), "law-helper", wait_seconds=5, clock=FakeClock())
    assert "--wait 600" in caught.value.hint
    gone = off(client(url), "law-helper", wait_seconds=600, clock=FakeClock(then=running.refresh))
    assert gone.probe.startswith("HTTP 503")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, ""),
        (403, {"error": {"message": "user quota is not enough", "type": "insufficient_user_quota"}}),
        (500, {"error": {"message": "do request failed", "type": "one_api_error"}}),
        (503, {"error": {"message": " (request id: 7)", "type": "upstream_error"}}),  # a busy Ollama's, passed through
        (200, {"error": {"message": "busy"}}),
    ],
)
def test_another_failure_is_no_proof_that_it_is_off(gateway: Any, stand_in_module: Any, status: int, body: Any) -> None:
    running, url = gateway
    apply(client(url), ROUTE)
    running.fault = stand_in_module.Answer(status, body)
    clock = FakeClock()
    if status == 200:
        with pytest.raises(ServerError, match="still answers"):
            off(client(url), "law-helper", wait_seconds=5, clock=clock)
        return
    gone = off(client(url), "law-helper", wait_seconds=5, clock=clock)
    assert clock.seconds >= 5, "it may still come to be seen"
    (warning,) = gone.warnings
    assert "could not be seen" in warning
    assert f"HTTP {status}" in warning

    def over() -> None:
        running.fault = None

    running.fault = stand_in_module.Answer(status, body)
    seen = off(client(url), "law-helper", wait_seconds=5, clock=FakeClock(then=over))
    assert seen.warnings == ()
    assert "无可用渠道" in seen.probe


def test_an_empty_answer_is_an_answer_when_it_should_be_off(gateway: Any, stand_in_module: Any) -> None:
    running, url = gateway
    apply(client(url), ROUTE)
    running.cached = True
    running.refresh()
    running.canned[UPSTREAM] = lambda name: stand_in_module.Said("", name)
    with pytest.raises(ServerError, match="still answers"):
        off(client(url), "law-helper", wait_seconds=5, clock=FakeClock())


def test_a_busy_upstream_is_not_taken_for_a_missing_route(gateway: Any, stand_in_module: Any) -> None:
    running, url = gateway
    apply(client(url), route_to("law-helper:v1"))
    asked: list[str] = []

    def busy_for_clients(name: str) -> Any:
        asked.append(name)
        if asked.count("law-helper:v2") > 2 and name == "law-helper:v2":
            raise stand_in_module.UpstreamFailed("busy", 503)
        return stand_in_module.Said("Yes.", name)

    running.canned[UPSTREAM] = busy_for_clients
    clock = FakeClock()
    with pytest.raises(ServerError, match="does not answer for the model"):
        apply(client(url), route_to("law-helper:v2"), clock=clock)
    assert clock.seconds == 0
    assert client(url).ask("law-helper").model == "law-helper:v1"


def test_a_gateway_that_switches_channels_on_by_itself_is_named(gateway: Any) -> None:
    running, url = gateway
    running.options["AutomaticEnableChannelEnabled"] = "true"
    apply(client(url), ROUTE)
    assert any("AutomaticEnableChannelEnabled" in warning for warning in off(client(url), "law-helper").warnings)


def test_a_cached_gateway_is_waited_for(gateway: Any) -> None:
    running, url = gateway
    running.cached = True
    with pytest.raises(NotYetRouted, match="does not route"):
        apply(client(url), ROUTE, wait_seconds=5, clock=FakeClock())
    assert ours(running)["status"] == 1  # it is right, and comes with the next refresh: not taken back
    done = apply(client(url), ROUTE, wait_seconds=600, clock=FakeClock(then=running.refresh))
    assert done.changed == ()
    assert done.said
    assert done.said.ok


def test_a_key_that_may_not_name_a_channel_is_enough(gateway: Any) -> None:
    running, url = gateway
    running.add_key("USERKEY", role=1)
    done = apply(client(url, key="USERKEY"), ROUTE)
    assert done.said
    assert done.said.ok


def test_a_wrong_client_key_leaves_nothing_behind(gateway: Any) -> None:
    running, url = gateway
    with pytest.raises(ServerError, match="client key"):
        apply(client(url, key="nonsense"), ROUTE)
    assert running.channels == {}


def test_without_a_client_key_nothing_is_written(gateway: Any) -> None:
    running, url = gateway
    with pytest.raises(UsageError, match="client key"):
        apply(client(url, key=None), ROUTE)
    assert running.writes() == []
    assert apply(client(url, key=None), ROUTE, ask=False).said is None


def test_another_family_is_recognised_before_any_write_and_before_the_token_travels() -> None:
    sent: list[Sent] = []

    def new_api(request: Sent) -> Reply:
        sent.append(request)
        data = {"version": "v1.0.0-rc.20", "self_use_mode_enabled": False, "system_name": "New API"}
        return Reply(200, json.dumps({"success": True, "message": "", "data": data}).encode())

    one_api = OneApi(Transport("http://gw.test", handler=new_api), Secret("ROOT-TOKEN"), Secret("k"))
    for action in (lambda: apply(one_api, ROUTE), lambda: off(one_api, "law-helper")):
        with pytest.raises(Refused, match=r"new-api v1\.0\.0-rc\.20"):
            action()
    assert {(request.method, request.path) for request in sent} == {("GET", "/api/status")}
    assert all("authorization" not in request.headers for request in sent)


@pytest.mark.parametrize(
    ("token", "words"),
    [("wrong", "access token"), ("COMMON-TOKEN", "admin")],
)
def test_a_token_that_may_not_is_explained(gateway: Any, token: str, words: str) -> None:
    running, url = gateway
    running.access_tokens["COMMON-TOKEN"] = 1
    with pytest.raises(ServerError, match="refused") as caught:
        apply(client(url, token=token), ROUTE)
    assert words in caught.value.hint
    assert token not in str(caught.value)
    assert running.writes() == []


def test_a_gateway_that_has_had_enough(gateway: Any) -> None:
    running, url = gateway
    running.limited = True
    with pytest.raises(ServerError, match="no more calls") as caught:
        apply(client(url), ROUTE)
    assert "3 minutes" in caught.value.hint


def test_a_loopback_upstream_of_a_gateway_elsewhere_is_warned_of() -> None:
    from ggship.gateways.routing import _upstream_warnings

    far = OneApi(Transport("http://10.0.0.9:3000"), Secret("t"))
    assert _upstream_warnings(far, route_to("m", upstream="http://127.0.0.1:11434"))
    assert not _upstream_warnings(far, ROUTE)
