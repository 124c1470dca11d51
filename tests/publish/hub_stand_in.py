"""A Hugging Face hub on loopback: what huggingface_hub asks of it to publish, with commits, LFS uploads and faults.

After the client's own source (huggingface_hub 2.4: _commit_api.py, lfs.py, hf_api.py) and what the hub documents of its
API: a commit is NDJSON, its parent must be the head (412), large files go through the LFS batch API first.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_marker-token"
SIGNATURE = "X-Signature=marker-signature"
LARGE = (".gguf", ".safetensors")  # as the .gitattributes of a new repository has them


@dataclass
class Commit:
    files: dict[str, bytes]
    message: str

    @property
    def oid(self) -> str:
        state = json.dumps([self.message, sorted((k, hashlib.sha1(v).hexdigest()) for k, v in self.files.items())])
        return hashlib.sha1(state.encode()).hexdigest()


@dataclass
class Repository:
    private: bool
    commits: list[Commit] = field(
        default_factory=lambda: [Commit({".gitattributes": b"*.gguf lfs\n"}, "initial commit")]
    )

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        return self.head if revision == "main" else next((one for one in self.commits if one.oid == revision), None)


@dataclass
class Hub:
    """user, orgs: who the token belongs to. Faults: `expired`, `forbidden` (may not write), `publishes` (makes every
    repository public), `refuse` (file -> status of
    its upload), `cut` (file -> how often its upload breaks off in the middle), `before_commit` (what others do then),
    `lie` (what the hub makes of the files of a commit)."""

    user: str = "me"
    orgs: tuple[str, ...] = ("lab",)
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    expired: bool = False
    forbidden: bool = False
    publishes: bool = False
    refuse: dict[int, int] = field(default_factory=dict)
    cut: dict[int, int] = field(default_factory=dict)
    before_commit: Callable[[], None] = field(default=lambda: None)
    lie: Callable[[dict[str, bytes]], None] = field(default=lambda files: None)
    asked: list[str] = field(default_factory=list)

    def start(self) -> None:
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self, "wbufsize": -1})
        )
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def files(self, name: str) -> dict[str, bytes]:
        return self.repositories[name].head.files

    def writes(self) -> list[str]:
        """The requests that change something."""
        return [line for line in self.asked if re.search(r"^PUT|/commit/|/repos/create", line)]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if path.startswith("/lfs-storage/"):
            # Signed addresses of a storage elsewhere: the token must not come here.
            assert "Authorization" not in self.headers
            self._put(path.rpartition("/")[2])
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" or self.hub.expired:
            self._error(401, "", "Invalid credentials in Authorization header")
            return
        routes: tuple[tuple[str, Callable[..., None]], ...] = (
            (r"/api/whoami-v2", self._whoami),
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate),
            (r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", self._info),
            (r"/api/models/([^/]+/[^/]+)/preupload/main", self._preupload),
            (r"/api/models/([^/]+/[^/]+)/commit/main", self._commit),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/([^/]+/[^/]+)/verify", self._verify),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
        )
        for pattern, handle in routes:
            match = re.fullmatch(pattern, path)
            if match:
                handle(*match.groups(), body)
                return
        self._error(404, "", "not found")

    def _whoami(self, body: bytes) -> None:
        self._json({"type": "user", "name": self.hub.user, "orgs": [{"name": name} for name in self.hub.orgs]})

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or self.hub.user}/{asked['name']}"
        if self.hub.forbidden:
            self._error(403, "", "You don't have the rights to create a model under the namespace")
        elif name in self.hub.repositories:
            self._error(409, "", "You already created this model repo")
        else:
            # `visibility` since huggingface_hub 1.x, `private` before
            private = asked.get("visibility") == "private" or asked.get("private") is True
            self.hub.repositories[name] = Repository(private and not self.hub.publishes)
            self._json({"url": f"{self.hub.url}/{name}"})

    def _validate(self, body: bytes) -> None:
        front = yaml.safe_load(json.loads(body)["content"].split("---")[1])
        relation = front.get("base_model_relation")
        bad = relation not in (None, "adapter", "merge", "quantized", "finetune") or not isinstance(front, dict)
        if bad:
            self._json({"errors": [{"message": '"base_model_relation" must be one of [...]'}], "warnings": []}, 400)
        else:
            self._json({"errors": [], "warnings": []})

    def _repository(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None:
            self._error(404, "RepoNotFound", "Repository not found")
        return found

    def _info(self, name: str, revision: str | None, body: bytes) -> None:
        found = self._repository(name)
        commit = found.at(revision or "main") if found else None
        if found is None:
            return
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        siblings = []
        for path, data in commit.files.items():
            lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(
                {"rfilename": path, "size": len(data), "blobId": _git(data), **({"lfs": lfs} if _large(path) else {})}
            )
        self._json({"id": name, "modelId": name, "sha": commit.oid, "private": found.private, "siblings": siblings})

    def _preupload(self, name: str, body: bytes) -> None:
        found = self._repository(name)
        if found is not None:
            files = [
                {"path": row["path"], "uploadMode": "lfs" if _large(row["path"]) else "regular", "shouldIgnore": False,
                 "oid": _git(found.head.files[row["path"]]) if row["path"] in found.head.files else None}
                for row in json.loads(body)["files"]
            ]  # fmt: skip
            self._json({"files": files})

    def _batch(self, name: str, body: bytes) -> None:
        if self.hub.forbidden:
            self._error(403, "", "You don't have the rights to write to this repo")
            return
        objects = []
        for row in json.loads(body)["objects"]:
            href = f"{self.hub.url}/lfs-storage/{row['oid']}?{SIGNATURE}"
            actions = {"upload": {"href": href}, "verify": {"href": f"{self.hub.url}/{name}/verify"}}
            there = row["oid"] in self.hub.objects
            objects.append({"oid": row["oid"], "size": row["size"], **({} if there else {"actions": actions})})
        self._json({"transfer": "basic", "objects": objects})

    def _put(self, oid: str) -> None:
        size = int(self.headers["Content-Length"])
        if self.hub.cut.get(size, 0):
            self.hub.cut[size] -= 1
            self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.shutdown(2)
            return
        data = self.rfile.read(size)
        if size in self.hub.refuse:
            self._error(self.hub.refuse[size], "", "Request has expired")
            return
        self.hub.objects[oid] = data
        self._json({})

    def _verify(self, name: str, body: bytes) -> None:
        asked = json.loads(body)
        whole = hashlib.sha256(self.hub.objects.get(asked["oid"], b"")).hexdigest() == asked["oid"]
        self._json({}) if whole else self._error(422, "", "the object is not what its oid says")

    def _commit(self, name: str, body: bytes) -> None:
        found = self._repository(name)
        if found is None:
            return
        lines = [json.loads(line) for line in body.splitlines()]
        assert lines[0]["key"] == "header"
        self.hub.before_commit()
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, found.head.oid):
            self._error(412, "", "A commit has happened since. Please refresh and try again.")
            return
        files = dict(found.head.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        self.hub.lie(files)
        found.commits.append(Commit(files, header["summary"]))
        oid = found.head.oid
        self._json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"})

    def _resolve(self, name: str, revision: str, path: str, body: bytes) -> None:
        found = self._repository(name)
        commit = found.at(revision) if found else None
        if commit is None or path not in commit.files:
            self._error(404, "EntryNotFound", "Entry not found")
            return
        data = commit.files[path]
        self._reply(200, data, {"X-Repo-Commit": commit.oid, "ETag": f'"{_git(data)}"'})

    def _json(self, value: Any, status: int = 200) -> None:
        self._reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._reply(status, json.dumps({"error": message}).encode(), headers)

    def _reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _large(path: str) -> bool:
    return path.endswith(LARGE)


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
