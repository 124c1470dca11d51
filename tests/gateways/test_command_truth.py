"""`ggship gateway` says what is so: no success for a name nobody knows, no clients to a server nobody proved."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run

DIGEST, OTHER = "c" * 64, "d" * 64


@pytest.fixture
def ollama() -> Iterator[Callable[[str | None], str]]:
    """ollama(digest): the address of a server that holds law:latest of that digest, or nothing, and answers as it."""
    servers = []

    def start(digest: str | None) -> str:
        models = [{"name": "law:latest", "digest": digest}] if digest else []

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1

            def respond(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                answer: dict[str, Any] = {"models": models}
                if self.path == "/api/chat":
                    answer = {"model": body["model"], "message": {"content": "The keeper."}, "eval_count": 3}
                raw = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = respond

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def package(ollama: Any, gateway: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    running, url = gateway
    running.access_tokens = {"ROOT": 100}
    running.add_key("CLIENT")
    monkeypatch.setenv("GGSHIP_GATEWAY_TOKEN", "ROOT")
    monkeypatch.setenv("GGSHIP_GATEWAY_KEY", "sk-CLIENT")
    monkeypatch.setenv("GGSHIP_GATEWAY_URL", url)
    model = {"runtime": "ollama", "host": ollama(DIGEST), "name": "law:latest", "digest": DIGEST}
    rest: dict[str, Any] = {key: {} for key in ("run", "base", "adapter", "prompt")}
    document = {"schema": 1, "name": "law", "ggship": "0", "strategy": "merge", "model": model, **rest}
    folder = tmp_path / "dist" / "a-law-package"
    folder.mkdir(parents=True)
    (folder / "ggship.json").write_text(json.dumps({**document, "eval": {"passed": True}}))
    return folder


def test_off_takes_the_packages_folder_too(package: Path, gateway: Any) -> None:
    running, _ = gateway
    assert run(cli, ["gateway", "apply", str(package)]) == 0
    assert run(cli, ["gateway", "off", str(package)]) == 0
    assert [channel["status"] for channel in running.channels.values()] == [2]


@pytest.mark.parametrize("name", ["lwa", "law-helper", "dist/gone"])
def test_off_for_a_name_without_a_channel_fails_and_lists_what_there_is(
    package: Path, gateway: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    running, _ = gateway
    assert run(cli, ["gateway", "off", name]) == 1
    assert "no channel of ggship at all" in capsys.readouterr().err
    assert run(cli, ["gateway", "apply", str(package)]) == 0
    capsys.readouterr()
    assert run(cli, ["gateway", "off", name, "--json"]) == 1
    printed = capsys.readouterr()
    assert f"no channel of ggship's for {name}" in printed.err
    assert ": law" in printed.err
    assert [channel["status"] for channel in running.channels.values()] == [1]


def test_clients_are_not_led_to_another_model_than_the_proven_one(
    package: Path, gateway: Any, ollama: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    running, _ = gateway
    assert run(cli, ["gateway", "apply", str(package), "--upstream", ollama(OTHER)]) == 4
    assert "holds another model" in capsys.readouterr().err
    assert run(cli, ["gateway", "apply", str(package), "--upstream", ollama(None)]) == 4
    assert "holds no model law:latest" in capsys.readouterr().err
    assert running.channels == {}
    assert run(cli, ["gateway", "apply", str(package), "--upstream", ollama(DIGEST)]) == 0
    assert "verified" not in capsys.readouterr().err
    assert run(cli, ["gateway", "apply", str(package), "--upstream", ollama(OTHER), "--force"]) == 0
    assert "warning" in capsys.readouterr().err


def test_an_upstream_that_does_not_answer_from_here_is_said_to_be_unverified(
    package: Path, gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["gateway", "apply", str(package), "--upstream", "http://127.0.0.1:9", "--no-ask"]) == 1
    assert "not verified that http://127.0.0.1:9 holds the proven model" in capsys.readouterr().err
