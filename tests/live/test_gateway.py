"""A release behind a gateway, with a real Ollama of each era behind it.

The gateway is the stand-in of tests/gateways, and also a real One-API where GGSHIP_TEST_ONE_API_URL names one; then
GGSHIP_TEST_ONE_API_TOKEN is an admin's access token, and GGSHIP_TEST_ONE_API_KEY a client key of an admin.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import Refused, ServerError
from ggship.gateways import OneApi, Route, Secret, apply, off
from ggship.gateways.model import Channel
from ggship.runtimes.ollama_api import OllamaClient
from ggship.transport import Transport

BASE = "smollm2:135m"
MODEL = "ggship-live-gateway:v1"
# One-API's own test sets no limit, and the small base does not always stop by itself.
PARAMETERS = {"num_predict": 4, "temperature": 0}
REAL = "GGSHIP_TEST_ONE_API_URL"


@dataclass(frozen=True)
class Gateway:
    url: str
    token: str
    key: str

    def client(self) -> OneApi:
        return OneApi(Transport(self.url), Secret(self.token), Secret(self.key))

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        reply = Transport(self.url).request(method, path, json=body, headers={"Authorization": self.token})
        return reply.json()

    def channel(self, number: int) -> dict[str, Any]:
        data: dict[str, Any] = self.raw("GET", f"/api/channel/{number}")["data"]
        return data


@pytest.fixture(params=["stand-in", *(["real"] if os.environ.get(REAL) else [])])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    if request.param == "real":
        names = ("GGSHIP_TEST_ONE_API_TOKEN", "GGSHIP_TEST_ONE_API_KEY")
        yield Gateway(os.environ[REAL], *(os.environ[name] for name in names))
        return
    folder = Path(__file__).parent.parent / "gateways" / "stand_in"
    spec = importlib.util.spec_from_file_location(
        "one_api_stand_in_live", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    running = module.StandIn()
    running.add_key("PROBEKEY")
    yield Gateway(running.start(), "ROOT-TOKEN", "sk-PROBEKEY")
    running.stop()


@pytest.fixture
def name(gateway: Gateway) -> Iterator[str]:
    """A package name that nobody else has; its channels are taken away at the end."""
    unique = f"ggship-live-{uuid.uuid4().hex[:8]}"
    yield unique
    client = gateway.client()
    for channel in client.channels():
        if unique in channel.name:
            client.delete(channel.id)


@pytest.fixture(autouse=True)
def first_model(each_ollama: str) -> Iterator[str]:
    """The base with a limit, as the first release."""
    ollama = OllamaClient(each_ollama)
    ollama.create({"model": MODEL, "from": BASE, "parameters": PARAMETERS})
    yield MODEL
    ollama.delete(MODEL)


@pytest.fixture
def second_model(each_ollama: str) -> Iterator[str]:
    """The same weights under a second name, as a second release."""
    ollama = OllamaClient(each_ollama)
    made = f"ggship-live-second:{uuid.uuid4().hex[:8]}"
    ollama.copy(MODEL, made)
    yield made
    ollama.delete(made)


def test_apply_twice_then_off_then_back(gateway: Gateway, name: str, each_ollama: str) -> None:
    client, route = gateway.client(), Route(name, name, MODEL, each_ollama, digest="d")
    done = apply(client, route)
    assert done.created
    assert done.said
    assert done.said.text.strip()
    assert done.said.model == MODEL
    before = gateway.channel(done.channel.id)
    again = apply(client, route)
    assert (again.changed, again.created) == ((), False)
    after = gateway.channel(done.channel.id)
    assert {**after, "used_quota": 0} == {**before, "used_quota": 0}
    gone = off(client, name)
    assert gone.changed
    assert gone.probe.startswith("HTTP 503")
    assert client.ask(name, channel=done.channel.id).status == 403
    assert not off(client, name).changed
    assert apply(client, route).changed == ("status",)
    assert client.ask(name).ok


def test_a_second_release_takes_over_and_a_missing_one_does_not(
    gateway: Gateway, name: str, each_ollama: str, second_model: str
) -> None:
    client = gateway.client()
    first = apply(client, Route(name, name, MODEL, each_ollama))
    second = apply(client, Route(name, name, second_model, each_ollama))
    assert second.channel.id == first.channel.id
    assert client.ask(name).model == second_model
    with pytest.raises(ServerError, match="no answer from the model") as caught:
        apply(client, Route(name, name, "no-such-model:v3", each_ollama))
    assert "404" in caught.value.where
    assert client.ask(name).model == second_model
    ours = [channel for channel in client.channels() if name in channel.name]
    assert [channel.id for channel in ours] == [first.channel.id]


def test_a_model_that_is_not_there_leaves_no_channel(gateway: Gateway, name: str, each_ollama: str) -> None:
    with pytest.raises(ServerError, match="no answer"):
        apply(gateway.client(), Route(name, name, "no-such-model", each_ollama))
    assert not [channel for channel in gateway.client().channels() if name in channel.name]


def test_an_upstream_that_is_down_leaves_no_channel(gateway: Gateway, name: str, each_ollama: str) -> None:
    with pytest.raises(ServerError, match="no answer") as caught:
        apply(gateway.client(), Route(name, name, MODEL, "http://127.0.0.1:1"))
    assert "refused" in caught.value.where
    assert not [channel for channel in gateway.client().channels() if name in channel.name]


def test_channels_of_others_stay_as_they_are(gateway: Gateway, name: str, each_ollama: str) -> None:
    client = gateway.client()
    theirs = {"name": f"theirs of {name}", "type": 30, "key": "secret-of-others", "base_url": each_ollama}
    gateway.raw("POST", "/api/channel/", {**theirs, "models": name, "group": "default", "status": 1})
    (foreign,) = client.find(theirs["name"])
    before = gateway.channel(foreign.id)
    done = apply(client, Route(name, name, MODEL, each_ollama))
    assert done.shared_with == (foreign.id,)
    gone = off(client, name)
    assert gone.still == (foreign.id,)
    assert {**gateway.channel(foreign.id), "used_quota": 0} == {**before, "used_quota": 0}


def test_two_channels_of_ours_stop_everything(gateway: Gateway, name: str, each_ollama: str) -> None:
    client, route = gateway.client(), Route(name, name, MODEL, each_ollama)
    first = apply(client, route).channel
    twin: Channel = client.create(route.channel())
    with pytest.raises(Refused) as caught:
        apply(client, route)
    assert f"channel {first.id}, channel {twin.id}" in caught.value.where


def test_the_command_line_says_what_it_did_and_no_secret(
    gateway: Gateway, name: str, each_ollama: str, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    digest = OllamaClient(each_ollama).digest(MODEL)
    model = {"runtime": "ollama", "host": each_ollama, "name": MODEL, "digest": digest}
    rest: dict[str, Any] = {key: {} for key in ("run", "base", "adapter", "prompt")}
    document = {"schema": 1, "name": name, "ggship": "0", "strategy": "merge", "model": model, **rest}
    (package / "ggship.json").write_text(json.dumps({**document, "eval": {"passed": True}}))
    token_file = tmp_path / "token"
    token_file.write_text(gateway.token)
    token_file.chmod(0o600)
    secrets = {"GGSHIP_GATEWAY_TOKEN_FILE": str(token_file), "GGSHIP_GATEWAY_KEY": gateway.key}

    def ggship(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "ggship", "gateway", *arguments, "--url", gateway.url, "--json"]
        ran = subprocess.run(command, env={**os.environ, **secrets}, capture_output=True, text=True, check=False)
        for secret in (gateway.token, gateway.key.removeprefix("sk-")):
            assert secret not in ran.stdout + ran.stderr
        assert ran.returncode == 0, ran.stderr
        return ran.returncode, json.loads(ran.stdout)

    _, made = ggship("apply", str(package), "--kind", "one-api")
    assert made["created"]
    assert made["said"]["text"]
    assert made["ggship"]["digest"] == digest
    _, again = ggship("apply", str(package), "--kind", "one-api")
    assert (again["created"], again["changed"], again["id"]) == (False, [], made["id"])
    _, seen = ggship("status")
    assert [row["id"] for row in seen["channels"] if row["name"].endswith(name)] == [made["id"]]
    _, gone = ggship("off", name)
    assert gone["changed"]
    assert gone["probe"].startswith("HTTP 503")
