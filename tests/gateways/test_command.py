"""ggship gateway, from the command line to the exit code, and no secret in anything it prints."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run

TOKEN, KEY, CHANNEL_KEY = "ROOTTOKENMARKER", "CLIENTKEYMARKER", "CHANNELKEYMARKER"
DIGEST = "c" * 64


@pytest.fixture
def ollama() -> Iterator[str]:
    """The address of a server that lists law:latest and answers as it."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def respond(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            answer: dict[str, Any] = {"models": [{"name": "law:latest", "digest": DIGEST}]}
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
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def package(ollama: str, gateway: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A proven package named law; the environment holds the secrets of the gateway."""
    running, url = gateway
    running.access_tokens = {TOKEN: 100}
    running.add_key(KEY)
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    monkeypatch.setenv("GGSHIP_GATEWAY_TOKEN_FILE", str(token_file))
    monkeypatch.setenv("GGSHIP_GATEWAY_KEY", f"sk-{KEY}")
    monkeypatch.setenv("GGSHIP_GATEWAY_URL", url)
    model = {"runtime": "ollama", "host": ollama, "name": "law:latest", "digest": DIGEST}
    rest: dict[str, Any] = {key: {} for key in ("run", "base", "adapter", "prompt")}
    document = {"schema": 1, "name": "law", "ggship": "0", "strategy": "merge", "model": model, **rest}
    (tmp_path / "ggship.json").write_text(json.dumps({**document, "eval": {"passed": True}}))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed since the last look; it holds no secret."""
    printed = capsys.readouterr()
    for secret in (TOKEN, KEY, CHANNEL_KEY):
        assert secret not in printed.out + printed.err
    return printed.out + printed.err


def test_apply_again_status_off(package: Path, gateway: Any, ollama: str, capsys: pytest.CaptureFixture[str]) -> None:
    running, _ = gateway
    assert run(cli, ["gateway", "apply", str(package), "--kind", "one-api"]) == 0
    words = said(capsys)
    assert "created" in words
    assert "The keeper." in words
    assert "law -> law:latest" in words
    (channel,) = running.channels.values()
    assert (channel["base_url"], channel["status"]) == (ollama, 1)
    channel["key"] = CHANNEL_KEY
    assert run(cli, ["gateway", "apply", str(package)]) == 0
    assert "nothing to change" in said(capsys)
    assert run(cli, ["gateway", "status"]) == 0
    assert "one-api v0.6.11" in said(capsys)
    assert run(cli, ["gateway", "off", "law"]) == 0
    words = said(capsys)
    assert "switched off" in words
    assert "HTTP 503" in words
    assert channel["status"] == 2
    assert run(cli, ["gateway", "off", "law"]) == 0
    assert "was off already" in said(capsys)


def test_json_is_one_document(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, key in (
        (["apply", str(package)], "changed"),
        (["status"], "channels"),
        (["off", "law"], "probe"),
    ):
        assert run(cli, ["gateway", *arguments, "--json"]) == 0
        printed = capsys.readouterr()
        assert key in json.loads(printed.out)
        assert TOKEN not in printed.out
        assert KEY not in printed.out


def test_what_did_not_pass_does_not_reach_the_gateway(
    package: Path, gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    running, _ = gateway
    document = json.loads((package / "ggship.json").read_text())
    (package / "ggship.json").write_text(json.dumps({**document, "eval": {"passed": False}}))
    assert run(cli, ["gateway", "apply", str(package)]) == 3
    assert "did not pass" in said(capsys)
    assert running.calls == []


def test_an_expired_token(
    package: Path, gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GGSHIP_GATEWAY_TOKEN", "EXPIREDMARKER")
    assert run(cli, ["gateway", "apply", str(package)]) == 1
    words = said(capsys)
    assert "EXPIREDMARKER" not in words
    assert "access token" in words


def test_no_token_at_all(package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("GGSHIP_GATEWAY_TOKEN_FILE")
    assert run(cli, ["gateway", "status"]) == 2
    assert "GGSHIP_GATEWAY_TOKEN" in said(capsys)


def test_a_public_address_by_plain_http(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["gateway", "status", "--url", "http://8.8.8.8:3000"]) == 2
    assert "--insecure-http" in said(capsys)
