"""Stands where the embedded child stands: same pipes, same HTTP, no llama.cpp. argv[1] says what goes wrong."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

fault = sys.argv[1] if len(sys.argv) > 1 else ""
spec = json.loads(sys.stdin.readline())
print(f"0.00 I pid {os.getpid()} ctx {spec['num_ctx']}", file=sys.stderr, flush=True)
if fault == "no-load":
    print(
        "0.01 E llama_adapter: tensor 'x' has incorrect shape (hint: maybe wrong base model?)",
        file=sys.stderr,
        flush=True,
    )
    print(json.dumps({"error": "RuntimeError: Failed to init server"}), flush=True)
    sys.exit(1)
if fault == "die-loading":
    print("GGML_ASSERT(boom) failed", file=sys.stderr, flush=True)
    os.abort()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {spec['key']}":
            self.reply(401, b"{}")
        elif fault == "die-asked":
            print("GGML_ASSERT(kv) failed", file=sys.stderr, flush=True)
            os.abort()
        elif fault == "too-long":
            self.reply(400, b'{"error":{"message":"request exceeds the available context size"}}')
        elif self.path == "/apply-template":
            text = "".join(f"<{m['role']}>{m['content']}" for m in body["messages"])
            if fault == "thinks" and body["chat_template_kwargs"] == {"enable_thinking": False}:
                text += "</think>"
            self.reply(200, json.dumps({"prompt": None if fault == "no-prompt" else text}).encode())
        else:
            said = json.dumps({"model": spec["model"], "adapter": spec["adapter"], "pid": os.getpid(), "body": body})
            pieces = [
                {"choices": [{"delta": {"role": "assistant", "content": None}, "finish_reason": None}]},
                {"choices": [{"delta": {"content": said}, "finish_reason": None}]},
                {"choices": [{"delta": {}, "finish_reason": "stop"}]},
                {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
            ]
            if fault == "error-streamed":
                pieces[2:] = [{"error": {"message": "slot died"}}]
            if fault == "cut":
                pieces = pieces[:2]
            if fault in ("no-json", "no-object"):
                pieces = []
            text = {"no-json": "data: {oops\n\n", "no-object": "data: 7\n\n"}.get(fault, "")
            text += "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
            self.reply(200, text.encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
sys.stdin.read()
os._exit(0)
