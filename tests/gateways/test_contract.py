"""What ggship does to a gateway, command by command: against stand-ins and, unchanged, against real ones.

GGSHIP_TEST_ONE_API_URL names a real One-API; then GGSHIP_TEST_ONE_API_TOKEN is an admin's access token there, and
GGSHIP_TEST_ONE_API_KEY a client key of an admin. GGSHIP_TEST_NEW_API_URL, _TOKEN, _KEY and _USER (the number of the
user whose token it is) name a new-api. Each must reach this machine's loopback, where a small Ollama of ours answers.
What the tests make there they take away again.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.gateways import OneApi, Route, Secret
from ggship.gateways.new_api import NewApi
from ggship.releases.journal import Journal
from ggship.releases.proofs import Proof
from ggship.transport import Transport

REAL = {"real one-api": "GGSHIP_TEST_ONE_API", "real new-api": "GGSHIP_TEST_NEW_API"}
V1, V2 = "1" * 64, "2" * 64


@dataclass(frozen=True)
class Place:
    """A gateway, and what is needed to look at it from outside ggship."""

    url: str
    token: str
    key: str
    user: str = ""

    def client(self) -> OneApi:
        if self.user:
            return NewApi(Transport(self.url), Secret(self.token), Secret(self.key), user_id=self.user)
        return OneApi(Transport(self.url), Secret(self.token), Secret(self.key))

    @property
    def weights(self) -> bool:
        return self.client().traits.weights

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "New-Api-User": self.user or "1"}
        return Transport(self.url).request(method, path, json=body, headers=headers).json()

    def ours(self, name: str) -> list[dict[str, Any]]:
        """Our channels as the gateway has them, without what counts by itself."""
        counts = {"used_quota", "test_time", "response_time", "created_time", "balance"}
        client = self.client()
        numbers = sorted((c.id for c in client.channels() if c.is_of(name)), reverse=True)
        found = [self.admin("GET", f"/api/channel/{number}")["data"] for number in numbers]
        return [{k: v for k, v in row.items() if k not in counts} for row in found]


@pytest.fixture(
    params=[
        "one-api",
        "new-api",
        "newer new-api",
        *(kind for kind, name in REAL.items() if f"{name}_URL" in os.environ),
    ]
)
def place(request: pytest.FixtureRequest, stand_in_module: Any) -> Iterator[Place]:
    if request.param in REAL:
        url, token, key = (os.environ[f"{REAL[request.param]}_{part}"] for part in ("URL", "TOKEN", "KEY"))
        yield Place(url, token, key, os.environ["GGSHIP_TEST_NEW_API_USER"] if "new" in request.param else "")
        return
    new = "new-api" in request.param
    running = stand_in_module.StandIn(new_api=new, newer="newer" in request.param)
    running.add_key("PROBEKEY")
    yield Place(running.start(), "ROOT-TOKEN", "PROBEKEY", "1" if new else "")
    running.stop()


@pytest.fixture
def ollama(name: str, small_ollama: Any) -> Any:
    return small_ollama({f"{name}:latest": V1, f"{name}:v1": V1, f"{name}:v2": V2, "base-model:latest": "b" * 64})


@pytest.fixture
def name(place: Place) -> Iterator[str]:
    unique = f"contract-{uuid.uuid4().hex[:8]}"
    yield unique
    client = place.client()
    for channel in client.channels():
        if channel.is_of(unique):
            client.delete(channel.id)


Ggship = Callable[..., dict[str, Any]]


@pytest.fixture
def ggship(
    place: Place,
    name: str,
    ollama: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Ggship:
    """ggship("apply", ..., code=0): one gateway command on a proven package; its document, or its error as words."""
    write_package(tmp_path / "package", name, ollama.url, V1)
    monkeypatch.setenv("GGSHIP_GATEWAY_TOKEN", place.token)
    monkeypatch.setenv("GGSHIP_GATEWAY_KEY", f"sk-{place.key}")
    monkeypatch.setenv("GGSHIP_GATEWAY_URL", place.url)
    user = ["--user-id", place.user] if place.user else []

    def call(*arguments: str, code: int = 0, version: str = "") -> dict[str, Any]:
        package = str(tmp_path / "package") + (f"@{version}" if version else "")
        said = run(cli, ["gateway", arguments[0], package, *user, *arguments[1:], "--json"])
        printed = capsys.readouterr()
        assert said == code, printed.err
        for secret in (place.token, place.key):
            assert secret not in printed.out + printed.err
        return {**(json.loads(printed.out) if printed.out else {}), "error": printed.err}

    return call


def write_package(folder: Path, name: str, host: str, digest: str) -> None:
    folder.mkdir(exist_ok=True)
    model = {"runtime": "ollama", "host": host, "name": f"{name}:latest", "digest": digest}
    rest: dict[str, Any] = {key: {} for key in ("run", "adapter", "prompt")}
    head = {"schema": 1, "name": name, "ggship": "0", "strategy": "merge", "base": {"ollama": "base-model:latest"}}
    (folder / "ggship.json").write_text(json.dumps({**head, "model": model, **rest, "eval": {"passed": True}}))


def answers(place: Place, name: str) -> str:
    said = place.client().ask(name)
    return said.model if said.ok else f"HTTP {said.status}"


def test_plan_says_what_apply_does_and_then_nothing(ggship: Ggship, place: Place, name: str) -> None:
    planned = ggship("plan", "--check", code=3)
    assert planned["do"] == "create"
    assert planned["changes"]["model_mapping"]["then"] == json.dumps({name: f"{name}:latest"})
    assert place.ours(name) == []
    assert ggship("apply")["created"]
    before = place.ours(name)
    planned = ggship("plan", "--check")
    assert (planned["do"], planned["changes"]) == ("nothing", {})
    assert not ggship("apply")["changed"]
    assert place.ours(name) == before


def test_the_ladder_holds_to_the_top_and_names_the_layer_that_breaks(ggship: Ggship, name: str, ollama: Any) -> None:
    broke = ggship("probe", code=4)["broke"]
    assert (broke["layer"], broke["rung"]) == ("channel", "there is one of ours, and it is on")
    ggship("apply")
    climbed = ggship("probe")
    assert climbed["ok"]
    layers = [rung["layer"] for rung in climbed["rungs"]]
    assert layers == ["ollama"] * 4 + ["gateway"] * 2 + ["channel"] * 3 + ["client"] * 2
    assert not [rung for rung in climbed["rungs"] if rung["skipped"]]
    ollama.silent.add(f"{name}:latest")
    broke = ggship("probe", code=1)["broke"]
    assert (broke["layer"], broke["rung"]) == ("ollama", "the model speaks")
    ollama.models[f"{name}:latest"] = V2
    broke = ggship("probe", code=4)["broke"]
    assert broke["rung"] == "it holds the model"
    ollama.models[f"{name}:latest"] = V1
    ollama.silent.clear()
    ggship("off")
    broke = ggship("probe", code=4)["broke"]
    assert "switched off" in broke["error"]


def test_off_is_seen_by_clients_and_on_brings_the_same_channel_back(ggship: Ggship, place: Place, name: str) -> None:
    number = ggship("apply")["id"]
    before = place.ours(name)
    gone = ggship("off")
    assert gone["probe"].startswith("HTTP 503")
    assert answers(place, name) == "HTTP 503"
    assert not ggship("off")["changed"]
    back = ggship("on")
    assert (back["changed"], back["channel"]["id"]) == (True, number)
    assert back["said"]["model"] == f"{name}:latest"
    assert place.ours(name) == before
    assert not ggship("on")["changed"]


def test_off_hard_parks_it_where_no_test_of_the_gateway_finds_it(ggship: Ggship, place: Place, name: str) -> None:
    ggship("apply")
    before = place.ours(name)
    ggship("off", "--hard")
    (parked,) = place.ours(name)
    assert (parked["status"], parked["group"]) == (2, "ggship-off")
    ggship("on")
    assert place.ours(name) == before


def test_off_to_the_base_keeps_the_name_answered(ggship: Ggship, place: Place, name: str) -> None:
    ggship("apply")
    before = place.ours(name)
    fallen = ggship("off", "--to", "base")
    assert fallen["probe"] == "answered by base-model:latest"
    assert answers(place, name) == "base-model:latest"
    assert not ggship("off", "--to", "base")["changed"]
    ggship("on")
    assert answers(place, name) == f"{name}:latest"
    assert place.ours(name) == before


def test_a_fall_to_a_model_that_is_not_there_changes_nothing(ggship: Ggship, place: Place, name: str) -> None:
    ggship("apply")
    before = place.ours(name)
    assert "no answer from the model" in ggship("off", "--to", "gone:1b", code=1)["error"]
    assert place.ours(name) == before
    assert answers(place, name) == f"{name}:latest"


def test_a_canary_gets_its_share_and_is_promoted(ggship: Ggship, place: Place, name: str) -> None:
    number = ggship("apply")["id"]
    refused = ggship("canary", "--percent", "25", version="v2", code=4)
    assert "not the model that this package proved" in refused["error"]
    running = ggship("canary", "--percent", "25", "--measure", "120", "--force", version="v2")
    assert running["split"] == ({"stable": 7500, "canary": 2500} if place.weights else {"stable": 3, "canary": 1})
    measured = running["measured"]
    assert measured["stable"] + measured["canary"] == measured["asked"] == 120
    assert measured["low"] <= 0.25 <= measured["high"]
    ends = ["", "#canary"] if place.weights else ["", "#2", "#3", "#canary-1"]
    assert sorted(row["name"] for row in place.ours(name)) == [f"ggship:{name}{end}" for end in ends]
    before = place.ours(name)
    assert not ggship("canary", "--percent", "25", "--measure", "0", "--force", version="v2")["changed"]
    assert place.ours(name) == before
    assert "a canary" in ggship("apply", code=4)["error"]
    done = ggship("promote")
    assert (done["channel"]["id"], done["before"]) == (number, f"{name}:latest")
    assert [row["id"] for row in place.ours(name)] == [number]
    assert {answers(place, name) for _ in range(8)} == {f"{name}:v2"}
    assert "no canary" in ggship("promote", code=1)["error"]


def test_a_canary_of_what_all_clients_get_already_is_refused(
    ggship: Ggship, place: Place, name: str, ollama: Any
) -> None:
    ggship("apply")
    ollama.models[f"{name}:latest"] = V2  # a release moved the name that the channel leads to
    before = place.ours(name)
    assert "is that very model" in ggship("canary", "--force", version="v2", code=4)["error"]
    assert place.ours(name) == before


def test_a_version_that_was_released_with_a_proof_that_held_needs_no_force(
    ggship: Ggship, place: Place, name: str, ollama: Any
) -> None:
    journal = Journal(ollama.url, f"{name}:latest")
    for digest, passed in ((V2, True), ("3" * 64, False)):
        journal.end(journal.begin("promote", 2, digest, proof=Proof(passed=passed)))
    assert ggship("apply", version="v2")["said"]["model"] == f"{name}:v2"
    ollama.models[f"{name}:v2"] = "3" * 64
    assert "nor one that was released" in ggship("apply", version="v2", code=4)["error"]


def test_rollback_takes_one_command_back_after_the_other(ggship: Ggship, place: Place, name: str) -> None:
    ggship("apply")
    first = place.ours(name)
    ggship("canary", "--percent", "50", "--measure", "0", "--force", version="v2")
    ggship("promote")
    undone = ggship("rollback")
    assert undone["undone"]["command"] == "promote"
    names = sorted(row["name"] for row in place.ours(name))
    assert names == [f"ggship:{name}", f"ggship:{name}#canary{'' if place.weights else '-1'}"]
    assert ggship("rollback")["undone"]["command"] == "canary"
    assert place.ours(name) == first
    assert ggship("rollback")["undone"]["command"] == "apply"
    assert place.ours(name) == []
    assert "left to take back" in ggship("rollback", code=1)["error"]


def test_rollback_of_a_removal_and_to_a_version_by_its_name(ggship: Ggship, place: Place, name: str) -> None:
    ggship("apply", "--group", "default,vip")
    (before,) = place.ours(name)
    assert ggship("remove")["probe"].startswith("HTTP 503")
    assert place.ours(name) == []
    assert ggship("rollback")["said"]["model"] == f"{name}:latest"
    (after,) = place.ours(name)
    assert {**after, "id": 0} == {**before, "id": 0}
    ggship("canary", "--percent", "50", "--measure", "0", "--force", version="v2")
    ggship("rollback", "--to", "v1")
    (now,) = place.ours(name)
    assert json.loads(now["model_mapping"]) == {name: f"{name}:v1"}
    assert now["group"] == "default,vip"
    assert answers(place, name) == f"{name}:v1"


def test_rollback_does_not_write_over_what_an_admin_changed(ggship: Ggship, place: Place, name: str) -> None:
    number = ggship("apply")["id"]
    ggship("apply", "--group", "vip", "--no-ask")
    place.admin("PUT", "/api/channel/", {"id": number, "priority": 77})
    before = place.ours(name)
    refused = ggship("rollback", code=4)
    assert "changed by someone else" in refused["error"]
    assert "priority" in refused["error"]
    assert place.ours(name) == before
    ggship("rollback", "--force")
    (now,) = place.ours(name)
    assert (now["group"], now["priority"]) == ("default", 10)


def test_ollamas_openai_side_keeps_what_the_native_channel_drops(
    ggship: Ggship, place: Place, name: str, ollama: Any
) -> None:
    applied = ggship("apply", "--mode", "openai")
    assert applied["said"]["model"] == f"{name}:latest"
    assert "drops stop" not in applied["error"]
    assert {path for path, _ in ollama.asked if "chat" in path} == {"/v1/chat/completions"}
    body = {"model": name, "messages": [{"role": "user", "content": "?"}], "stop": ["END"]}
    headers = {"Authorization": f"Bearer sk-{place.key}"}
    Transport(place.url).request("POST", "/v1/chat/completions", json=body, headers=headers)
    assert ollama.asked[-1][1]["stop"] == ["END"]
    assert not ggship("apply")["changed"], "what is not said stays"
    warned = ggship("apply", "--mode", "native")["error"]
    Transport(place.url).request("POST", "/v1/chat/completions", json=body, headers=headers)
    native = {**ollama.asked[-1][1], **ollama.asked[-1][1].get("options", {})}
    assert ("drops stop" in warned) == ("stop" not in native)


def test_a_limit_that_the_gateway_would_not_hold_is_refused(ggship: Ggship, place: Place, name: str) -> None:
    refused = ggship("apply", "--rpm", "60", code=4)
    assert "cannot limit" in refused["error"]
    assert "nginx" in refused["error"]
    assert place.ours(name) == []


def test_channels_of_others_come_out_of_all_of_it_untouched(ggship: Ggship, place: Place, name: str) -> None:
    client = place.client()
    theirs = Route("x", f"x{name}", f"x{name}", "http://127.0.0.1:9").channel(types=client.traits.types)
    foreign = client.create(replace(theirs, name=f"theirs {name}", config={}))
    try:
        for command in (["apply"], ["off"], ["on"], ["off", "--hard"], ["remove"], ["rollback"], ["remove"]):
            ggship(*command)
        assert client.get(foreign.id) == foreign
    finally:
        client.delete(foreign.id)
