"""Another admin at work at the same moment, and an act that was killed: seen, told, and never written over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import Refused, ServerError, UsageError
from ggship.gateways import OneApi, Route, Secret, apply, off
from ggship.gateways.canary import start_canary
from ggship.gateways.journal import Journal
from ggship.gateways.rollback import last_act, rollback
from ggship.gateways.share import split_by_channels, split_by_weight, wilson
from ggship.transport import Transport

UPSTREAM = "http://ollama.test:11434"


def client(url: str) -> OneApi:
    return OneApi(Transport(url), Secret("ROOT-TOKEN"), Secret("PROBEKEY"))


def route_to(model: str) -> Route:
    return Route("law", "law", model, UPSTREAM)


def meddle(running: Any, when: str, change: dict[str, Any]) -> None:
    """The other admin changes channel 1 just before the first request that begins so is answered."""
    done: list[bool] = []

    def at_work(call: Any) -> None:
        if f"{call.method} {call.path}".startswith(when) and not done:
            done.append(True)
            running.channels[1].update(change)

    running.meddler = at_work


def test_what_another_admin_changed_after_it_was_read_is_not_written_over(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), route_to("law:v1"))
    meddle(running, "GET /api/channel/test", {"priority": 99, "models": "law,more"})
    with pytest.raises(Refused, match="someone else changed channel 1") as caught:
        apply(client(url), route_to("law:v2"))
    assert caught.value.where.endswith("models, priority")
    channel = running.channels[1]
    assert (channel["priority"], channel["models"]) == (99, "law,more")
    assert json.loads(channel["model_mapping"]) == {"law": "law:v1"}
    assert list(running.channels) == [1], "the trial is gone"


def test_a_write_that_another_admin_undoes_at_once_is_no_success(gateway: Any) -> None:
    running, url = gateway
    apply(client(url), route_to("law:v1"))

    def undone(call: Any) -> None:
        if call.method == "GET" and running.channels[1]["status"] == 2:
            running.channels[1]["status"] = 1

    running.meddler = undone
    with pytest.raises(ServerError, match="another admin was at work") as caught:
        off(client(url), "law")
    assert "status" in caught.value.where


def test_two_creations_at_the_same_moment_are_told_apart(gateway: Any) -> None:
    running, url = gateway

    def twin(call: Any) -> None:
        if call.method == "POST" and call.path == "/api/channel/":
            running.meddler = None
            running.add_channel(name="ggship:law", models="law", status=2)

    running.meddler = twin
    with pytest.raises(ServerError, match="someone else made a channel of the same name"):
        apply(client(url), route_to("law:v1"))


def test_a_write_whose_end_nobody_saw_is_found_and_taken_back(gateway: Any, tmp_path: Path) -> None:
    running, url = gateway
    journal = Journal(url, folder=tmp_path)
    one_api = client(url)
    with journal.act("apply", "law") as one_api.recorder:
        apply(one_api, route_to("law:v1"))
    before = dict(running.channels[1])
    one_api.get = _stopping(one_api.get, running)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), journal.act("apply", "law") as one_api.recorder:
        apply(one_api, route_to("law:v2"), ask=False)
    act = last_act(journal, "law")
    assert [net.sure for net in act.changed] == [False]
    fresh = client(url)
    with journal.act("rollback", "law", undoes=act.id) as fresh.recorder:
        assert rollback(fresh, act).model == "law:v1"
    assert {**running.channels[1], "used_quota": 0} == {**before, "used_quota": 0}
    assert last_act(journal, "law").command == "apply"
    assert last_act(journal, "law").id != act.id


def _stopping(get: Any, running: Any) -> Any:
    def stopped(number: int) -> Any:
        if "law:v2" in running.channels.get(1, {}).get("model_mapping", ""):
            raise KeyboardInterrupt
        return get(number)

    return stopped


def test_a_line_that_a_crash_cut_short_does_not_hide_the_others(gateway: Any, tmp_path: Path) -> None:
    _, url = gateway
    journal = Journal(url, folder=tmp_path)
    one_api = client(url)
    with journal.act("apply", "law") as one_api.recorder:
        apply(one_api, route_to("law:v1"))
    with journal.path.open("a") as file:
        file.write('{"act": "x", "command": "app')
    assert last_act(journal, "law").command == "apply"
    assert journal.path.stat().st_mode & 0o077 == 0


def test_a_canary_that_fails_half_way_leaves_what_was_there(gateway: Any, stand_in_module: Any) -> None:
    running, url = gateway
    apply(client(url), route_to("law:v1"))
    before = {number: {**channel, "used_quota": 0} for number, channel in running.channels.items()}
    with pytest.raises(ServerError, match="no answer from the model"):
        start_canary(client(url), route_to("gone:v2"), 10)
    assert {number: {**channel, "used_quota": 0} for number, channel in running.channels.items()} == before


@pytest.mark.parametrize(
    ("percent", "split"), [(10, (9, 1)), (50, (1, 1)), (25, (3, 1)), (33, (2, 1)), (5, (19, 1)), (90, (1, 9))]
)
def test_the_fewest_channels_that_make_the_share(percent: float, split: tuple[int, int]) -> None:
    found = split_by_channels(percent)
    assert (found.stable, found.canary) == split


@pytest.mark.parametrize("percent", [0, 100, -1, 1, 0.1, 99])
def test_a_share_that_cannot_be_made_is_refused_with_the_nearest(percent: float) -> None:
    with pytest.raises(UsageError) as caught:
        split_by_channels(percent)
    if 0 < percent < 100:
        assert "--channels" in caught.value.hint
        assert split_by_channels(1, 100).share == 0.01


def test_weights_make_any_share() -> None:
    assert split_by_weight(0.5).share == pytest.approx(0.005)


def test_the_interval_holds_the_share_that_was_drawn() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(10, 100)
    assert low < 0.1 < high
    assert wilson(0, 100)[0] == 0.0
    assert wilson(1000, 10_000)[1] - wilson(1000, 10_000)[0] < high - low
