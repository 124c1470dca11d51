"""A registry that misbehaves: it stands in front of the real one, which answers everything else."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Proxy:
    """Faults: `refuse` (method and path -> a status in place of the real answer), `change` (what becomes of a manifest
    that is read), `cut` (break off in the middle of what a PATCH sends). asked: method and path of every request."""

    def __init__(self, registry: str) -> None:
        self.registry = registry
        self.refuse: Callable[[str, str], int] = lambda method, path: 0
        self.change: Callable[[bytes], bytes] = lambda manifest: manifest
        self.cut = False
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        proxy = self.proxy
        proxy.asked.append(f"{self.command} {self.path}")
        size = int(self.headers.get("Content-Length") or 0)
        if proxy.cut and self.command == "PATCH":
            self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.shutdown(2)
            return
        body = self.rfile.read(size)
        refused = proxy.refuse(self.command, self.path)
        if refused:
            self._reply(refused, b'{"errors":[{"code":"DENIED","message":"not here"}]}', {})
            return
        real = http.client.HTTPConnection(proxy.registry, timeout=60)
        # The Host stays the proxy's: the registry makes the addresses of uploads from it.
        real.request(self.command, self.path, body=body, headers=dict(self.headers))
        reply = real.getresponse()
        data = reply.read()
        headers = {name: value for name, value in reply.getheaders() if name not in ("Transfer-Encoding", "Connection")}
        if self.command == "GET" and re.search("/manifests/", self.path) and reply.status == 200:
            data = proxy.change(data)
            headers["Content-Length"] = str(len(data))
        self._reply(reply.status, data, headers)
        real.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def _reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass
