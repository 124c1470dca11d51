"""A Hugging Face hub on loopback: the part of its API that huggingface_hub asks for when it downloads a model."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 1 << 16  # from here on a file is one of Git LFS: its name in the cache is its sha256


@dataclass
class Repository:
    """files: name -> bytes, at the one commit. revisions: names that mean it. gated: nobody may read the files."""

    files: dict[str, bytes]
    commit: str = "c0ffee" + "0" * 34
    revisions: tuple[str, ...] = ("main",)
    gated: bool = False

    def entry(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return {"rfilename": name, "size": len(data), "blobId": oid, **({"lfs": lfs} if len(data) >= LARGE else {})}


@dataclass
class HubServer:
    """cut: file -> bytes after which the connection breaks, once. stall: the same, but it waits for `go` for ever.

    asked: (method, path, Range header) of every request.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    stall: dict[str, int] = field(default_factory=dict)
    stalled: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def downloads(self, name: str) -> list[str | None]:
        """The Range headers with which a file was asked for."""
        return [ranged for method, path, ranged in self.asked if method == "GET" and path.endswith(f"/{name}")]


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        info = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        tree = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if tree:
            self._tree(*tree.groups())
        elif info:
            self._info(*info.groups())
        elif file:
            self._file(*file.groups())
        else:
            self._error(404, "")

    def _repository(self, name: str, revision: str | None) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None:
            self._error(401, "RepoNotFound")  # the hub does not tell strangers what is private and what is not there
        elif revision is not None and revision not in (*found.revisions, found.commit):
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return found
        return None

    def _info(self, name: str, revision: str | None) -> None:
        if found := self._repository(name, revision):
            siblings = [found.entry(file) for file in found.files]
            self._json({"id": name, "modelId": name, "sha": found.commit, "private": False, "siblings": siblings})

    def _tree(self, name: str, revision: str) -> None:
        if found := self._repository(name, revision):
            entries = []
            for file in found.files:
                entry = found.entry(file)
                lfs = entry.get("lfs")
                lfs = {"lfs": {"oid": lfs["sha256"], "size": lfs["size"], "pointerSize": 130}} if lfs else {}
                entries.append({"type": "file", "path": file, "size": entry["size"], "oid": entry["blobId"], **lfs})
            self._json(entries)

    def _file(self, name: str, revision: str, file: str) -> None:
        found = self._repository(name, revision)
        if found is None:
            return
        if found.gated:
            self._error(403, "GatedRepo", f"Access to model {name} is restricted.")
            return
        if file not in found.files:
            self._error(404, "EntryNotFound", "Entry not found")
            return
        data, entry = found.files[file], found.entry(file)
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(ranged[1]) if ranged else 0
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Repo-Commit", found.commit)
        etag = entry["lfs"]["sha256"] if "lfs" in entry else entry["blobId"]
        self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if self.command != "HEAD":
            self._send(file, data, start)

    def _send(self, file: str, data: bytes, start: int) -> None:
        view, end = memoryview(data), len(data)
        broken, waits = self.hub.cut.pop(file, None), self.hub.stall.pop(file, None)
        stop = broken or waits or end
        self.wfile.write(view[start:stop])
        self.wfile.flush()
        if broken:
            self.close_connection = True
            self.connection.shutdown(2)
        elif waits:
            self.hub.stalled.set()
            self.hub.go.wait()
            self.close_connection = True

    def _json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _error(self, status: int, code: str, message: str = "") -> None:
        data = json.dumps({"error": message or code}).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message or code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass
