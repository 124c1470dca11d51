"""ggship publish, from the command line to the exit code. A real HTTP server on loopback plays both servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.transport import Sent


@pytest.fixture
def address(world: SimpleNamespace) -> Iterator[str]:
    """host:port where both fakes of `world` are to be had over a socket."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {key.lower(): value for key, value in self.headers.items()}
            sent = Sent(self.command, f"http://localhost{self.path}", self.path, headers, body)
            fake = world.registry if self.path.startswith("/v2/") else world.ollama
            reply = fake.answer(sent)
            self.send_response(reply.status)
            for key, value in reply.headers.items():
                self.send_header(key, value)
            if "content-length" not in reply.headers:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_DELETE = do_HEAD = respond

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def package(world: SimpleNamespace, address: str, tmp_path: Path) -> Path:
    """A package that passed, live on the fake server as law:latest."""
    digest = world.ollama.add("law:latest", model=b"weights", template=b"t")
    model = {"runtime": "ollama", "host": f"http://{address}", "name": "law:latest", "digest": digest}
    rest: dict[str, Any] = {key: {} for key in ("run", "base", "adapter", "prompt")}
    document = {"schema": 1, "name": "law", "ggship": "0", "strategy": "merge", "model": model, **rest}
    (tmp_path / "ggship.json").write_text(json.dumps({**document, "eval": {"passed": True}}))
    return tmp_path


def test_publish_says_what_it_did_and_the_second_time_that_it_did_nothing(
    package: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["publish", str(package), "--to", f"ollama:{address}/ns/law:v1"]
    assert run(cli, arguments) == 0
    first = capsys.readouterr()
    assert "pushed, and read back" in first.out
    assert f"{address}/ns/law:v1" in first.out.replace("\n", "")
    assert run(cli, arguments) == 0
    assert "nothing was pushed" in capsys.readouterr().out


def test_json(package: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["publish", str(package), "--to", f"ollama:{address}/ns/law", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pushed"] is True
    assert [layer["kind"] for layer in document["layers"]] == ["model", "template", "config"]


def test_a_package_that_did_not_pass_is_not_pushed(
    package: Path, address: str, world: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((package / "ggship.json").read_text())
    (package / "ggship.json").write_text(json.dumps({**document, "eval": {"passed": False}}))
    arguments = ["publish", str(package), "--to", f"ollama:{address}/ns/law"]
    assert run(cli, arguments) == 3
    assert "did not pass" in capsys.readouterr().err
    assert world.ollama.pushes == []
    assert run(cli, [*arguments, "--force"]) == 0
    assert "did not pass" in capsys.readouterr().err


def test_a_place_that_is_none_is_a_usage_error(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["publish", str(package), "--to", "s3:bucket/law"]) == 2
    assert "what kind of place" in capsys.readouterr().err


def test_a_dry_run_tells_and_pushes_nothing(
    package: Path, address: str, world: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["publish", str(package), "--to", f"ollama:{address}/ns/law"]
    assert run(cli, [*arguments, "--dry-run"]) == 0
    assert "would be pushed; nothing was" in capsys.readouterr().out
    assert world.ollama.pushes == []
    assert run(cli, arguments) == 0
    capsys.readouterr()
    assert run(cli, [*arguments, "--dry-run"]) == 0
    assert "nothing would be pushed" in capsys.readouterr().out
    assert len(world.ollama.pushes) == 1
