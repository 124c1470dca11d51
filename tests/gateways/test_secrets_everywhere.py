"""Every secret that ggship knows, planted as a marker, and then looked for in all that it wrote, said and sent.

A marker may stand in the Authorization header of requests to its own server, and nowhere else: in no file, on no
stream, in no traceback (GGSHIP_DEBUG is set), in no body, no address, and no request to any other server.
"""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.errors import GgshipError

MARKERS = {
    "GGSHIP_GATEWAY_TOKEN": "MARKERgatewaytoken",
    "GGSHIP_GATEWAY_KEY": "MARKERgatewaykey",
    "GGSHIP_API_KEY": "MARKERapikey",
    "GGSHIP_JUDGE_KEY": "MARKERjudgekey",
    "GGSHIP_EMBEDDER_KEY": "MARKERembedderkey",
    "OPENAI_API_KEY": "MARKERopenaikey",
    "HF_TOKEN": "hf_MARKERhubtoken",
}
CHANNEL_KEY = "MARKERchannelkey"  # of an admin's; the gateway's answer to an update holds it
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Server:
    """Keeps every request it gets: (method, path, headers, body); `answer` says what goes back."""

    answer: Callable[[str, str, dict[str, str], bytes], Answer]
    got: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running = []

    def start(answer: Callable[[str, str, dict[str, str], bytes], Answer]) -> Server:
        server = Server(answer)

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1

            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                server.got.append((self.command, self.path, headers, body))
                status, more, content = server.answer(self.command, self.path, headers, body)
                self.send_response(status)
                for key, value in {"Content-Length": str(len(content)), **more}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = respond

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(http)
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        return server

    yield start
    for http in running:
        http.shutdown()
        http.server_close()


def as_json(value: Any, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def echoing(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    """A server that refuses and repeats what it was sent, as careless ones do."""
    words = f"not authorised: {headers.get('authorization', '')}"
    return as_json({"success": False, "message": words, "error": {"message": words}}, 401)


@dataclass
class Watch:
    """Runs commands and keeps what they said; then looks for markers."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    said: list[str] = field(default_factory=list)

    def ggship(self, *arguments: object) -> int:
        """One command with GGSHIP_DEBUG set: an error's traceback is kept, as the terminal would show it."""
        code = 1
        try:
            code = run(cli, [str(argument) for argument in arguments])
        except GgshipError as error:
            code = error.exit_code
            self.said.append("".join(traceback.format_exception(error)) + error.where + error.hint)
        except Exception as error:  # a bug shows itself as one; its traceback must be clean all the same
            self.said.append("".join(traceback.format_exception(error)))
        printed = self.capsys.readouterr()
        self.said.append(printed.out + printed.err)
        return code

    def leaks(self, servers: dict[str, Server]) -> list[str]:
        """Where a marker stands that should not. servers: variable -> the one server that may be sent its marker."""
        found = []
        for marker in (*MARKERS.values(), CHANNEL_KEY):
            found += [f"{marker} was said: {text[:300]}" for text in self.said if marker in text]
            found += [f"{marker} in {path}" for path in self.folder.rglob("*") if _holds(path, marker)]
        for name, server in servers.items():
            for method, path, headers, body in server.got:
                rest = {key: value for key, value in headers.items() if key != "authorization"}
                open_part = f"{path} {rest} {body.decode('utf-8', 'replace')}"
                mine = MARKERS[name.partition(" ")[0]] if name in MARKERS else ""
                for marker in (*MARKERS.values(), CHANNEL_KEY):
                    sent = headers.get("authorization", "")
                    if marker in open_part or (marker in sent and marker != mine and not name.startswith("gateway")):
                        found.append(f"{marker} went to the server of {name}: {method} {path}")
        return found


def _holds(path: Path, marker: str) -> bool:
    return path.is_file() and path.parent.name != "planted" and marker.encode() in path.read_bytes()


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Watch:
    """Every secret planted: the gateway's token and the hub's in files, the others in the environment."""
    planted = tmp_path / "planted"
    planted.mkdir()
    for name, marker in MARKERS.items():
        if name in ("GGSHIP_GATEWAY_TOKEN", "HF_TOKEN"):
            file = planted / name
            file.write_text(marker + "\n")
            file.chmod(0o600)
            monkeypatch.setenv(f"{name}_FILE", str(file))
        else:
            monkeypatch.setenv(name, marker)
    monkeypatch.setenv("GGSHIP_DEBUG", "1")
    monkeypatch.setenv("GGSHIP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GGSHIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    return Watch(tmp_path, capsys)


def test_the_commands_of_a_gateway(watch: Watch, serve: Any, stand_in_module: Any, small_ollama: Any) -> None:
    small = small_ollama({"law:latest": "1" * 64, "law:v2": "2" * 64, "base:1b": "b" * 64})
    gateway = stand_in_module.StandIn(access_tokens={MARKERS["GGSHIP_GATEWAY_TOKEN"]: 100})
    gateway.add_key(MARKERS["GGSHIP_GATEWAY_KEY"])
    foreign = gateway.add_channel(name="theirs", key=CHANNEL_KEY, models="other")

    def through(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        answer = gateway.answer(method, path, headers, body)
        content = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        kind = {"Content-Type": answer.content_type} if answer.content_type else {}
        return answer.status, {**kind, **answer.headers}, content.encode()

    server = serve(through)
    package = _package(watch.folder, small.url)
    force = ("--force", "--measure", "5")
    assert watch.ggship("gateway", "add", "office", "--url", server.url) == 0
    for command in (
        ["plan", package],
        ["apply", package],
        ["probe", package],
        ["status", "--json"],
        ["off", package, "--to", "base:1b"],
        ["on", package],
        ["off", package, "--hard"],
        ["on", package],
        ["promote", package],
        ["remove", package],
        ["rollback", package],
    ):
        assert watch.ggship("gateway", *command) == (1 if command[0] == "promote" else 0), watch.said[-1]
    watch.ggship("gateway", "canary", f"{package}@v2", "--percent", "50", *force)
    assert watch.ggship("gateway", "promote", package) == 0, watch.said[-1]
    gateway.channels[max(gateway.channels)]["key"] = CHANNEL_KEY
    gateway.deaf = True
    watch.ggship("gateway", "off", package)
    assert foreign in gateway.channels
    assert list((watch.folder / "state" / "gateways" / "journal").glob("*.jsonl")), "there is a journal to look into"
    tokens = {headers.get("authorization") for _, path, headers, _ in server.got if path.startswith("/api/channel")}
    assert tokens == {f"Bearer {MARKERS['GGSHIP_GATEWAY_TOKEN']}"}
    ollama = Server(server.answer, [("POST", path, headers, json.dumps(body).encode()) for (path, body), headers in
                                    zip(small.asked, small.headers, strict=True)])  # fmt: skip
    assert watch.leaks({"gateway": server, "ollama": ollama}) == []


@pytest.mark.parametrize("kind", ["one-api", "new-api", "litellm"])
def test_gateways_that_refuse_or_lead_elsewhere_or_are_none(watch: Watch, serve: Any, kind: str) -> None:
    elsewhere = serve(lambda *asked: as_json({"success": True, "data": []}))
    leading = serve(lambda method, path, headers, body: (301, {"Location": elsewhere.url + path}, b""))

    def careful_at_the_door(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        family = {"setup": True} if kind == "new-api" else {}
        if path == "/api/status" and kind != "litellm":
            return as_json({"success": True, "data": {"version": "v1", **family}})
        if path == "/health/readiness" and kind == "litellm":
            return as_json({"status": "healthy", "db": "connected"})
        return echoing(method, path, headers, body)

    careless = serve(careful_at_the_door)
    html = serve(lambda *asked: (200, {"Content-Type": "text/html"}, b"<html>sign in</html>"))
    package = _package(watch.folder, "http://127.0.0.1:9")
    for server in (leading, careless, html):
        for command in (["status"], ["off", package], ["on", package], ["remove", package], ["probe", package]):
            assert watch.ggship("gateway", *command, "--kind", kind, "--url", server.url) != 0
        assert watch.ggship("gateway", "status", "--url", server.url) != 0
    assert elsewhere.got == []
    assert any(MARKERS["GGSHIP_GATEWAY_TOKEN"] in sent.get("authorization", "") for _, _, sent, _ in careless.got)
    assert watch.leaks({"gateway": careless, "gateway 2": leading, "gateway 3": html, "elsewhere": elsewhere}) == []


def test_a_model_a_judge_and_an_embedder_each_get_their_own_key(watch: Watch, serve: Any) -> None:
    def model(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path.endswith("/embeddings"):
            texts = json.loads(body)["input"]
            return as_json({"data": [{"index": n, "embedding": [1.0, 0.0]} for n, _ in enumerate(texts)]})
        if path.endswith("/chat/completions"):
            message = {"role": "assistant", "content": '{"pass": true, "score": 1, "reason": "well said"}'}
            return as_json({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        return as_json({"data": []})

    asked, judge, embedder = serve(model), serve(model), serve(model)
    suite = watch.folder / "suite.yaml"
    suite.write_text(
        "version: 1\nname: s\ntests:\n- id: one\n  prompt: Who?\n  assert:\n  - {type: llm-rubric, value: is polite}\n"
        "  - {type: similar, value: well said}\n",
    )
    rest = (
        "--suite",
        suite,
        "--judge",
        f"{judge.url}/v1#judge",
        "--embedder",
        f"{embedder.url}/v1#emb",
        "--out",
        "out",
    )
    code = watch.ggship("eval", f"{asked.url}/v1#model", *rest)
    assert code in (0, 3), watch.said[-1]
    servers = {"GGSHIP_API_KEY": asked, "GGSHIP_JUDGE_KEY": judge, "GGSHIP_EMBEDDER_KEY": embedder}
    for name, server in servers.items():
        sent = {headers.get("authorization") for _, _, headers, _ in server.got}
        assert sent == {f"Bearer {MARKERS[name]}"}, name
    assert (watch.folder / "out").is_dir(), "there is a report to look into"
    assert watch.leaks(servers) == []


def test_servers_that_repeat_the_key_or_lead_elsewhere(watch: Watch, serve: Any) -> None:
    elsewhere = serve(lambda *asked: as_json({"choices": [{"message": {"content": "hello"}}]}))
    leading = serve(lambda method, path, headers, body: (307, {"Location": elsewhere.url + path}, b""))
    careless = serve(echoing)
    suite = watch.folder / "suite.yaml"
    suite.write_text(
        "version: 1\nname: s\ntests:\n- id: one\n  prompt: Who?\n  assert:\n  - {type: contains, value: hello}\n"
    )
    for server in (leading, careless):
        assert watch.ggship("eval", f"{server.url}/v1#model", "--suite", suite, "--out", "out") != 0
        assert server.got
    assert elsewhere.got == []
    assert watch.leaks({"elsewhere": elsewhere}) == []


def test_a_hub_that_repeats_the_token(watch: Watch, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    careless = serve(echoing)
    monkeypatch.setenv("HF_ENDPOINT", careless.url)
    package = _package(watch.folder, "http://127.0.0.1:9")
    assert watch.ggship("publish", package, "--to", "hf:me/law") != 0
    monkeypatch.setenv("HF_TOKEN", MARKERS["HF_TOKEN"])
    assert watch.ggship("merge", package, "--base", "hf:me/base", "--out", "m.gguf") != 0
    assert watch.leaks({"HF_TOKEN": careless}) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "http://192.0.2.1/v1#model", "--suite", "suite.yaml"),
        ("gateway", "status", "--url", "http://192.0.2.1"),
        ("publish", "package", "--to", "hf:me/law"),
    ],
)
def test_no_secret_leaves_by_plain_http(
    watch: Watch, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 192.0.2.1 is nobody's (RFC 5737), so an attempt would hang: to be refused at once is to have sent nothing.
    monkeypatch.setenv("HF_ENDPOINT", "http://192.0.2.1")
    text = "version: 1\nname: s\ntests:\n- id: one\n  prompt: Who?\n  assert: [{type: contains, value: a}]\n"
    (watch.folder / "suite.yaml").write_text(text)
    _package(watch.folder, "http://127.0.0.1:9")
    assert watch.ggship(*arguments) != 0
    assert watch.leaks({}) == []


def test_a_password_in_an_address_is_refused_before_it_is_written_anywhere(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = MARKERS["GGSHIP_API_KEY"]
    for arguments in (
        ["gateway", "add", "office", "--url", f"http://root:{marker}@127.0.0.1:9"],
        [
            "gateway",
            "add",
            "office",
            "--url",
            "http://127.0.0.1:9",
            "--kind",
            "one-api",
            "--upstream",
            f"http://u:{marker}@o",
        ],
        ["eval", f"http://u:{marker}@127.0.0.1:9/v1#model", "--suite", "suite.yaml"],
        [
            "gateway",
            "apply",
            "package",
            "--kind",
            "one-api",
            "--url",
            "http://127.0.0.1:9",
            "--upstream",
            f"http://u:{marker}@o",
        ],
    ):
        assert watch.ggship(*arguments) != 0
    monkeypatch.setenv("OLLAMA_HOST", f"http://u:{marker}@127.0.0.1:9")
    assert watch.ggship("doctor") != 99
    assert watch.leaks({}) == []


def test_a_secret_from_the_keyring(watch: Watch, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = watch.folder / "site" / "keyring"
    package.mkdir(parents=True)
    store = {("ggship", "gateway"): MARKERS["GGSHIP_GATEWAY_TOKEN"]}
    (package / "errors.py").write_text("class KeyringError(Exception):\n    pass\n")
    (package / "__init__.py").write_text(
        "import os\nfrom . import errors\n"
        "def get_password(service, user):\n    return os.environ.get(f'STORE_{service}_{user}')\n"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    for (service, user), value in store.items():
        monkeypatch.setenv(f"STORE_{service}_{user}", value)
    monkeypatch.delenv("GGSHIP_GATEWAY_TOKEN_FILE")
    server = serve(echoing)
    monkeypatch.setenv("GGSHIP_GATEWAY_TOKEN_KEYRING", "ggship/gateway")
    assert watch.ggship("gateway", "off", "law", "--kind", "litellm", "--url", server.url) != 0
    monkeypatch.setenv("GGSHIP_GATEWAY_TOKEN_KEYRING", "ggship/nobody")
    assert watch.ggship("gateway", "status", "--kind", "one-api", "--url", server.url) == 2
    assert "no entry ggship/nobody" in watch.said[-2] + watch.said[-1]
    assert watch.leaks({"gateway": server}) == []


def _package(folder: Path, host: str) -> Path:
    package = folder / "package"
    package.mkdir(exist_ok=True)
    model = {"runtime": "ollama", "host": host, "name": "law:latest", "digest": "1" * 64}
    rest: dict[str, Any] = {key: {} for key in ("run", "base", "adapter", "prompt")}
    document = {"schema": 1, "name": "law", "ggship": "0", "strategy": "merge", "model": model, **rest}
    (package / "ggship.json").write_text(json.dumps({**document, "eval": {"passed": True}}))
    return package
