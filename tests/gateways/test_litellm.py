"""LiteLLM by its file, and by its admin API as its source has it: the commands, and what stays untouched.

The proxy itself is run for real in tests/live/test_litellm.py.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from ggship.errors import Refused, ServerError, UsageError
from ggship.gateways import Route, Secret, apply, fall_back, off, on, plan, remove
from ggship.gateways.canary import promote_canary, start_canary
from ggship.gateways.litellm import LiteLlmApi, LiteLlmFile, channel_of, deployment
from ggship.transport import Reply, Sent, Transport

UPSTREAM = "http://127.0.0.1:11434"
ROUTE = Route("law", "law", "law:v1", UPSTREAM, digest="d")
NEXT = Route("law", "law", "law:v2", UPSTREAM, digest="e")
MASTER, KEY = "sk-MASTERMARKER", "sk-VIRTUALMARKER"


class Proxy:
    """LiteLLM's admin API over a database, in memory; `file` holds deployments that it cannot write."""

    def __init__(self, *, database: bool = True, checks: tuple[str, ...] = ()) -> None:
        self.rows: list[dict[str, Any]] = []
        self.database = database
        self.checks = list(checks)
        self.deaf = False
        self.calls: list[Sent] = []

    def __call__(self, sent: Sent) -> Reply:
        self.calls.append(sent)
        path = sent.path.partition("?")[0]
        if path == "/health/readiness":
            return reply({"status": "healthy", "db": "connected" if self.database else "Not connected"})
        if sent.headers.get("authorization") not in (f"Bearer {MASTER}", f"Bearer {KEY}"):
            return reply({"error": {"message": f"Authentication Error, {sent.headers['authorization']}"}}, 401)
        if path == "/router/settings":
            return reply({"current_values": {"optional_pre_call_checks": self.checks}})
        if path == "/model/info":
            return reply({"data": [json.loads(json.dumps(row)) for row in self.rows]})
        if path == "/health":
            return reply({"healthy_endpoints": [{"model_id": "x"}], "unhealthy_endpoints": []})
        if path == "/v1/chat/completions":
            return self.chat(sent.json())
        if not self.database:
            return reply({"error": {"message": "No DB Connected"}}, 500)
        return self.write(path, sent.json())

    def write(self, path: str, body: dict[str, Any]) -> Reply:
        if self.deaf:
            return reply({})
        if path == "/model/new":
            self.rows.append(body)
        elif path == "/model/update":
            self.rows = [body if row["model_info"]["id"] == body["model_info"]["id"] else row for row in self.rows]
        elif path == "/model/delete":
            self.rows = [row for row in self.rows if row["model_info"]["id"] != body["id"]]
        elif path in ("/model/block", "/model/unblock"):
            for row in self.rows:
                if row["model_info"]["id"] == body["model_id"]:
                    row["model_info"]["blocked"] = path == "/model/block"
        return reply({})

    def chat(self, body: dict[str, Any]) -> Reply:
        mine = [r for r in self.rows if body["model"] in (r["model_name"], r["model_info"]["id"])]
        if not mine:
            return reply(
                {"error": {"message": f"/chat/completions: Invalid model name passed in model={body['model']}"}}, 400
            )
        able = [row for row in mine if not row["model_info"].get("blocked")]
        if not able:
            return reply({"error": {"message": "litellm.PermissionDeniedError: Model is blocked"}}, 403)
        # The heaviest answers always: a share is counted on the real proxy.
        row = max(able, key=lambda row: row["litellm_params"].get("weight") or 0)
        said = {"model": body["model"], "choices": [{"message": {"content": row["litellm_params"]["model"]}}]}
        return reply(said, headers={"x-litellm-model-id": row["model_info"]["id"]})


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body).encode(), headers or {})


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


def by_api(proxy: Proxy) -> LiteLlmApi:
    return LiteLlmApi(Transport("http://127.0.0.1:4000", handler=proxy), Secret(MASTER), Secret(KEY))


def by_file(path: Path, proxy: Proxy | None = None) -> LiteLlmFile:
    return LiteLlmFile(Transport("http://127.0.0.1:4000", handler=proxy or Proxy(database=False)), path, Secret(KEY))


def held(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["model_list"]
    return found


@pytest.mark.parametrize("mode", ["native", "openai"])
def test_a_deployment_reads_back_as_it_was_written(mode: str) -> None:
    route = Route("law", "law", "law:v1", f"{UPSTREAM}/v1", digest="d", mode=mode, rpm=3)
    channel = route.channel("ggship:law", types=LiteLlmFile.traits.types)
    row = deployment(channel)
    assert channel_of(row) == channel
    params = row["litellm_params"]
    if mode == "native":
        assert (params["model"], params["api_base"]) == ("ollama_chat/law:v1", UPSTREAM)
    else:
        assert (params["model"], params["api_base"]) == ("openai/law:v1", f"{UPSTREAM}/v1")


def test_the_file_holds_the_deployment_and_twice_is_once(tmp_path: Path) -> None:
    file = tmp_path / "ggship.yaml"
    done = apply(by_file(file), ROUTE)
    assert "restart it" in done.warnings[-1]
    (row,) = held(file)
    assert (row["model_name"], row["model_info"]["id"], row["model_info"]["blocked"]) == ("law", "ggship:law", False)
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    again = apply(by_file(file), ROUTE, ask=False)
    assert (again.changed, again.warnings) == ((), ())
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_what_was_in_the_file_before_stays_beside_it_and_its_mode_too(tmp_path: Path) -> None:
    file = tmp_path / "ggship.yaml"
    apply(by_file(file), ROUTE)
    file.chmod(0o640)
    before = file.read_bytes()
    apply(by_file(file), NEXT)
    assert held(file)[0]["litellm_params"]["model"] == "ollama_chat/law:v2"
    assert file.with_name("ggship.yaml.bak").read_bytes() == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "text",
    [
        "model_list:\n- model_name: theirs\n  litellm_params: {model: openai/gpt}\n",
        "# my own\ngeneral_settings: {master_key: os.environ/KEY}\n",
    ],
)
def test_a_file_of_someone_else_is_never_written(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    for action in (
        lambda: apply(by_file(file), ROUTE),
        lambda: off(by_file(file), "law"),
        lambda: plan(by_file(file), ROUTE),
    ):
        with pytest.raises(Refused, match="more than ggship's own") as caught:
            action()
        assert "include:" in caught.value.hint
    assert file.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_off_on_fall_back_canary_promote_remove_by_file(tmp_path: Path) -> None:
    file = tmp_path / "ggship.yaml"
    gateway = by_file(file)
    apply(gateway, ROUTE)
    first = held(file)
    off(gateway, "law")
    assert held(file)[0]["model_info"]["blocked"] is True
    on(gateway, "law", ask=False)
    assert held(file) == first
    fall_back(gateway, "law", "base:1b")
    assert held(file)[0]["litellm_params"]["model"] == "ollama_chat/base:1b"
    on(gateway, "law", ask=False)
    assert held(file) == first
    running = start_canary(gateway, NEXT, 10)
    assert running.counted is None
    weights = {row["litellm_params"]["model"]: row["litellm_params"]["weight"] for row in held(file)}
    assert weights == {"ollama_chat/law:v1": 9000, "ollama_chat/law:v2": 1000}
    promote_canary(gateway, "law")
    (row,) = held(file)
    assert (row["litellm_params"]["model"], "weight" in row["litellm_params"]) == ("ollama_chat/law:v2", False)
    remove(gateway, "law")
    assert held(file) == []


def test_a_limit_is_written_only_where_the_proxy_would_hold_it(tmp_path: Path) -> None:
    file = tmp_path / "ggship.yaml"
    limited = Route("law", "law", "law:v1", UPSTREAM, rpm=60)
    with pytest.raises(Refused, match="only weights") as caught:
        apply(by_file(file), limited)
    assert "optional_pre_call_checks" in caught.value.hint
    assert not file.exists()
    apply(by_file(file, Proxy(database=False, checks=("enforce_model_rate_limits",))), limited)
    assert held(file)[0]["litellm_params"]["rpm"] == 60


def test_user_groups_are_refused_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no user groups"):
        apply(by_file(tmp_path / "f.yaml"), Route("law", "law", "law:v1", UPSTREAM, group="vip"))


def test_by_the_admin_api_it_is_created_blocked_tested_and_let_through(proxy: Proxy) -> None:
    done = apply(by_api(proxy), ROUTE)
    assert done.said
    assert done.said.deployment == "ggship:law"
    written = [call.path for call in proxy.calls if call.method == "POST" and call.path.startswith("/model")]
    assert written == ["/model/new", "/model/block", "/model/update", "/model/unblock"]
    new = next(call for call in proxy.calls if call.path == "/model/new")
    assert new.json()["model_info"]["blocked"] is True
    gone = off(by_api(proxy), "law")
    assert gone.probe.startswith("HTTP 403")
    assert on(by_api(proxy), "law").said
    assert "Invalid model name" in remove(by_api(proxy), "law").probe


def test_the_deployments_of_others_stay_and_are_told_of(proxy: Proxy) -> None:
    theirs = {"model_name": "law", "litellm_params": {"model": "openai/gpt"}, "model_info": {"id": "theirs"}}
    proxy.rows.append(json.loads(json.dumps(theirs)))
    done = apply(by_api(proxy), ROUTE)
    assert done.shared_with == ("theirs",)
    off(by_api(proxy), "law")
    remove(by_api(proxy), "law")
    assert proxy.rows == [theirs]


def test_without_a_database_the_api_is_refused_before_any_write() -> None:
    proxy = Proxy(database=False)
    with pytest.raises(Refused, match="no database") as caught:
        apply(by_api(proxy), ROUTE)
    assert "--config" in caught.value.hint
    assert {call.method for call in proxy.calls} == {"GET"}


def test_a_proxy_that_reports_success_and_does_nothing_is_found_out(proxy: Proxy) -> None:
    proxy.deaf = True
    with pytest.raises(ServerError, match="is not there"):
        apply(by_api(proxy), ROUTE)


def test_a_wrong_master_key_is_explained_and_not_repeated(proxy: Proxy) -> None:
    gateway = LiteLlmApi(Transport("http://127.0.0.1:4000", handler=proxy), Secret("sk-WRONGMARKER"), Secret(KEY))
    with pytest.raises(ServerError, match="refused") as caught:
        gateway.channels()
    assert "master key" in caught.value.hint
    assert "WRONGMARKER" not in str(caught.value)
