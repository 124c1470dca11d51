"""A server that answers token by token, one question at a time, and fails on demand.

Its refusals and streams have the words and the shape of those that a real Ollama 0.34.4 gave with OLLAMA_MAX_QUEUE=1
while a model was being loaded, on both of its dialects: the usage comes after the finish, then [DONE].
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"
NAME = "law:latest"


class StandIn:
    """tokens of token_seconds each; faults: what happens to the questions after the first, in turn, then nothing more.

    `served`: when each whole answer ended, by time.perf_counter. `asked`: the bodies.
    """

    def __init__(self, *, slots: int = 1) -> None:
        self.tokens = 5
        self.token_seconds = 0.002
        self.faults: list[str] = []
        self.always = ""
        self.served: list[float] = []
        self.asked: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.slots = threading.Semaphore(slots)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"stand_in": self}))
        self._server.daemon_threads = True
        self._server.request_queue_size = 64
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, body: dict[str, Any]) -> str:
        with self.lock:
            self.asked.append(body)
            if self.always and len(self.asked) > 1:
                return self.always
            return self.faults.pop(0) if self.faults and len(self.asked) > 1 else ""

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(200, {"models": [{"name": NAME, "digest": "ab" * 32}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        if self.path == "/api/show":
            self._reply(200, {"capabilities": ["completion"], "parameters": "", "modelfile": ""})
            return
        fault = self.stand_in.take(body)
        openai = self.path.startswith("/v1")
        key = self.headers.get("Authorization", "")
        if fault == "busy":
            self._refuse(503, QUEUE_FULL, openai)
        elif fault == "limited":
            self._refuse(429, "rate limit exceeded", openai)
        elif fault == "broken":
            self._refuse(500, f"llama-server process has terminated: exit status 1 {key}", openai)
        elif fault == "dropped":
            self._hang_up()
        elif fault == "silent":
            time.sleep(1.2)
            self._hang_up()
        elif openai:
            self._events(fault, body)
        else:
            self._lines(fault, body)

    def _lines(self, fault: str, body: dict[str, Any]) -> None:
        """Ollama's own API."""
        arrived = time.perf_counter()
        with self.stand_in.slots:
            begun = time.perf_counter()
            self._begin("application/x-ndjson")
            for number in range(self._tokens(fault, body)):
                self._token()
                if fault == "midway" and number == 2:
                    self._hang_up()
                    return
                if fault == "inside" and number == 2:
                    self._chunk({"error": "an error was encountered while running the model"})
                    self._chunk(None)
                    return
                self._chunk({"message": {"role": "assistant", "content": " word"}, "done": False})
            now = time.perf_counter()
            last = {
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": "length",
                "total_duration": int((now - arrived) * 1e9),
                "load_duration": 1_000_000,
                "prompt_eval_count": 10,
                "prompt_eval_cached_count": 4,
                "prompt_eval_duration": 1000,
                "eval_count": self.stand_in.tokens,
                "eval_duration": int((now - begun) * 1e9),
            }
            if fault != "no end":
                self._chunk(last)
            self._chunk(None)
            with self.stand_in.lock:
                self.stand_in.served.append(now)

    def _events(self, fault: str, body: dict[str, Any]) -> None:
        """The OpenAI dialect. Without stream it answers in one piece."""
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
            self._reply(200, {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 1}})
            return
        with self.stand_in.slots:
            self._begin("text/event-stream")
            for _ in range(self._tokens(fault, body)):
                self._token()
                delta = {"role": "assistant", "content": " word"}
                self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            if fault != "no end":
                self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
            if fault != "no usage":
                usage = {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
                self._event({"choices": [], "usage": usage})
            self._raw(b"data: [DONE]\n\n")
            self._chunk(None)

    def _tokens(self, fault: str, body: dict[str, Any]) -> int:
        if (body.get("options") or {}).get("num_predict") == 1:  # the first question, which has the model loaded
            return 1
        return {"empty": 0, "forever": 100_000}.get(fault, self.stand_in.tokens)

    def _token(self) -> None:
        time.sleep(self.stand_in.token_seconds)

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _event(self, value: Any) -> None:
        self._raw(f"data: {json.dumps(value)}\n\n".encode())

    def _chunk(self, value: Any) -> None:
        if value is None:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self._raw(json.dumps(value).encode() + b"\n")

    def _raw(self, data: bytes) -> None:
        try:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        except OSError:
            self.close_connection = True
            raise

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # who asked has hung up
            self.close_connection = True

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def _refuse(self, status: int, text: str, openai: bool) -> None:
        error: Any = {"message": text, "type": "api_error", "param": None, "code": None} if openai else text
        self._reply(status, {"error": error})

    def _reply(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
