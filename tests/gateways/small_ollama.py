"""A very small Ollama on loopback: models of given names and digests that answer with their own name."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SmallOllama:
    """Lists `models` (name -> digest) and answers for them, in its own dialect and in OpenAI's; others are 404.

    `asked` keeps every request's path and body; a name in `silent` answers with nothing.
    """

    def __init__(self, models: Mapping[str, str]) -> None:
        self.models = dict(models)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.silent: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Close the socket."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """(status, what goes back)."""
        if path == "/api/version":
            return 200, {"version": "0.34.4"}
        if path == "/api/tags":
            return 200, {"models": [{"name": name, "digest": digest} for name, digest in self.models.items()]}
        name = str(body.get("model"))
        full = name if ":" in name else f"{name}:latest"
        if full not in self.models:
            return 404, {"error": f"model '{name}' not found"}
        if path == "/api/show":
            return 200, {"template": "{{ .Prompt }}", "parameters": 'stop "<|im_end|>"\nnum_ctx 2048'}
        words = "" if full in self.silent else f"I am {name}."
        if path == "/v1/chat/completions":
            return 200, _openai(name, words)
        return 200, {"model": name, "message": {"role": "assistant", "content": words}, "done": True, "eval_count": 3}


def _openai(name: str, words: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": name, "choices": [choice], "usage": usage}


def _stream(path: str, body: dict[str, Any], whole: Any) -> tuple[str, str]:
    """(content type, text): the answer in pieces, as each dialect streams it."""
    name = body["model"]
    if path == "/api/chat":
        words = whole["message"]["content"]
        pieces = [{"model": name, "message": {"role": "assistant", "content": words}, "done": False}]
        pieces.append({"model": name, "message": {"role": "assistant", "content": ""}, "done": True, "eval_count": 3})
        return "application/x-ndjson", "".join(json.dumps(piece) + "\n" for piece in pieces)
    words = whole["choices"][0]["message"]["content"]
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": name}
    first = {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": words}, "finish_reason": None}]}
    last = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    lines = [json.dumps(first), json.dumps(last), "[DONE]"]
    return "text/event-stream", "".join(f"data: {line}\n\n" for line in lines)


def _handler(ollama: SmallOllama) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def respond(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            ollama.asked.append((self.path, body))
            ollama.headers.append({key.lower(): value for key, value in self.headers.items()})
            status, whole = ollama.answer(self.path, body)
            kind, text = "application/json", json.dumps(whole)
            if status == 200 and body.get("stream") and self.path in ("/api/chat", "/v1/chat/completions"):
                kind, text = _stream(self.path, body, whole)
            raw = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = respond

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler
