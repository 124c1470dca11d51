"""A small Ollama over real sockets, for what a real one cannot be made to show: faults at chosen moments.

Its quirks are those seen on real servers: an error inside an answer of status 200, a `from` that is missing is pulled,
the digest of a file is rewritten (0.32) or kept (0.34), tensors only on a verbose show (0.34), adapters refused (0.34).
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Fault:
    """What goes wrong, the next `times` times that a path is asked (-1: always).

    status and body: answered in place of the real answer. lines: answer 200 with these lines, then hang up without the
    end of the chunked body unless `whole`. read: take so many bytes of the request's body, then hang up.
    """

    status: int = 0
    body: str = ""
    lines: list[str] | None = None
    whole: bool = True
    read: int | None = None
    times: int = 1


@dataclass
class Model:
    """What a manifest would hold."""

    base: str
    adapter: str | None = None
    template: str = "{{ .Prompt }}"
    system: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.__dict__, sort_keys=True).encode()).hexdigest()


class FakeOllama:
    """The server and what it holds. `requests`: (method, path, decoded body or None) of each request, in order."""

    def __init__(self, version: str = "0.32.14") -> None:
        self.version = version
        self.blobs: dict[str, int] = {}
        self.models: dict[str, Model] = {}
        self.pulled: list[str] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: dict[str, list[Fault]] = {}
        self.answer: Callable[[dict[str, Any]], str] = lambda request: "Paris."
        self.tamper: Callable[[Model], None] = lambda model: None
        self.capabilities = ["completion"]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def new(self) -> bool:
        return tuple(int(part) for part in self.version.split("-")[0].split(".")) >= (0, 34, 1)

    def fail(self, path: str, **fault: Any) -> None:
        """Arrange a fault for the next request whose path begins so."""
        self.faults.setdefault(path, []).append(Fault(**fault))

    def paths(self, method: str) -> list[str]:
        return [path for made, path, _ in self.requests if made == method]

    def hold(self, name: str, content: bytes = b"GGUF base") -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = len(content)
        self.models[_full(name)] = Model(digest)
        return digest

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take_fault(self, path: str) -> Fault | None:
        for start, faults in self.faults.items():
            if path.startswith(start) and faults:
                fault = faults[0]
                fault.times -= 1
                if fault.times == 0:
                    faults.pop(0)
                return fault
        return None

    def create(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of a create."""
        if request.get("from"):
            name = _full(request["from"])
            if name not in self.models:
                self.pulled.append(name)
                yield {"status": "pulling manifest"}
                yield {"error": "pull model manifest: file does not exist"}
                return
            old = self.models[name]
            model = Model(old.base, old.adapter, old.template, old.system, dict(old.parameters))
        else:
            digest = next(iter(request["files"].values())).removeprefix("sha256:")
            yield {"status": "parsing GGUF"}
            if digest not in self.blobs:
                yield {"error": f"open blobs/sha256-{digest}: no such file or directory"}
                return
            model = Model(digest if self.new else hashlib.sha256(digest.encode()).hexdigest())
        for digest in request.get("adapters", {}).values():
            model.adapter = digest.removeprefix("sha256:")
        model.template = request.get("template") or model.template
        model.system = request.get("system") or model.system
        model.parameters.update(request.get("parameters") or {})
        self.tamper(model)
        self.models[_full(request["model"])] = model
        yield {"status": "writing manifest"}
        yield {"status": "success"}

    def show(self, model: Model, verbose: bool) -> dict[str, Any]:
        lines = []
        for key, value in model.parameters.items():
            values = value if isinstance(value, list) else [value]
            lines += [f"{key:<30} {json.dumps(one, ensure_ascii=False)}" for one in values]
        adapter = f"ADAPTER /models/blobs/sha256-{model.adapter}\n" if model.adapter else ""
        shown = {
            "modelfile": f'# x\nFROM /models/blobs/sha256-{model.base}\n{adapter}TEMPLATE """{model.template}"""\n',
            "parameters": "\n".join(lines),
            "template": model.template,
            "system": model.system,
            "capabilities": self.capabilities,
            "model_info": {"general.architecture": "llama"},
        }
        if verbose or not self.new:
            shown["tensors"] = [{"name": "blk.0.attn_q.weight", "type": "F16", "shape": [8, 8]}]
        return shown


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeOllama

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_DELETE = do_GET

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        fault = self.fake.take_fault(self.path)
        if fault and fault.read is not None:
            self.rfile.read(min(length, fault.read))
            self.fake.requests.append((self.command, self.path, None))
            self._hang_up()
            return
        body = self.rfile.read(length)
        decoded = json.loads(body) if body[:1] == b"{" else None
        self.fake.requests.append((self.command, self.path, decoded))
        if fault and fault.lines is not None:
            self._lines(fault.lines, fault.whole)
        elif fault:
            self._reply(fault.status, fault.body.encode())
        else:
            self._route(decoded or {}, body)

    def _route(self, request: dict[str, Any], body: bytes) -> None:
        fake, path = self.fake, self.path
        blob = re.fullmatch(r"/api/blobs/sha256:([0-9a-f]{64})", path)
        name = _full(request.get("model") or request.get("name") or "")
        if path == "/api/version":
            self._json(200, {"version": fake.version})
        elif path == "/api/tags":
            self._json(200, {"models": [{"name": n, "digest": m.digest()} for n, m in fake.models.items()]})
        elif path == "/api/ps":
            self._json(200, {"models": []})
        elif blob and self.command == "HEAD":
            self._reply(200 if blob[1] in fake.blobs else 404, b"")
        elif blob:
            if hashlib.sha256(body).hexdigest() != blob[1]:
                self._json(400, {"error": f'digest mismatch, expected "sha256:{blob[1]}"'})
            else:
                fake.blobs[blob[1]] = len(body)
                self._reply(201, b"")
        elif path == "/api/create":
            self._create(request)
        elif path == "/api/copy":
            source = _full(request["source"])
            if source not in fake.models:
                self._json(404, {"error": f'model "{request["source"]}" not found'})
            else:
                fake.models[_full(request["destination"])] = fake.models[source]
                self._reply(200, b"")
        elif name not in fake.models:
            self._json(404, {"error": f"model '{request.get('model')}' not found"})
        elif path == "/api/delete":
            del fake.models[name]
            self._reply(200, b"")
        elif path == "/api/show":
            self._json(200, fake.show(fake.models[name], bool(request.get("verbose"))))
        elif path == "/api/push":
            self._lines(['{"status":"retrieving manifest"}', '{"status":"success"}'], True)
        elif path == "/api/chat" and request.get("_debug_render_only"):
            text = "".join(f"<{m['role']}>{m['content']}" for m in request["messages"])
            self._json(200, {"message": {}, "done": False, "_debug_info": {"rendered_template": text}})
        elif path == "/api/chat" and request.get("stream") is False:
            self._json(200, {"message": {"content": "P"}, "done": True, "prompt_eval_count": 7, "eval_count": 1})
        elif path == "/api/chat":
            self._chat(request)
        elif path == "/api/generate":
            context = {} if request.get("raw") else {"context": [1, 2]}
            self._json(200, {"response": "P", "done": True, "prompt_eval_count": 7, "eval_count": 1, **context})
        else:
            self._json(404, {"error": "404 page not found"})

    def _create(self, request: dict[str, Any]) -> None:
        if request.get("adapters") and self.fake.new:
            self._json(400, {"error": "LoRA adapters are no longer supported"})
        elif not re.fullmatch(r"[\w./:-]+", request["model"]):
            self._json(400, {"error": "invalid model name"})
        elif request.get("stream") is False:
            self._json(200, list(self.fake.create(request))[-1])
        else:
            self._lines([json.dumps(event) for event in self.fake.create(request)], True)

    def _chat(self, request: dict[str, Any]) -> None:
        words = self.fake.answer(request).split(" ")
        pieces = [
            {"message": {"role": "assistant", "content": word if i == 0 else f" {word}"}, "done": False}
            for i, word in enumerate(words)
        ]
        last = {"message": {"content": ""}, "done": True, "done_reason": "stop", "load_duration": 2_000_000_000}
        self._lines(
            [json.dumps(p) for p in [*pieces, {**last, "prompt_eval_count": 7, "eval_count": len(words)}]], True
        )

    def _json(self, status: int, value: Any) -> None:
        self._reply(status, json.dumps(value).encode())

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _lines(self, lines: list[str], whole: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = line.encode() + b"\n"
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        if whole:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _full(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
