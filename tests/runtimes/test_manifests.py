"""A name replaced in a store on this machine: in one instant, and only where that store is surely the server's."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ggship.runtimes.manifests import manifest_path
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient
from ggship.transport import Reply, Sent, Transport

BLOB = "sha256-" + "ab" * 32
LIBRARY = "registry.ollama.ai/library"


class Store:
    """The folder of a server, and what the server answers from it. `lies`: names whose digest it tells wrongly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests = folder / "manifests"
        (folder / "blobs").mkdir(parents=True)
        self.copied: list[tuple[str, str]] = []
        self.lies: set[str] = set()

    def write(self, name: str, text: str) -> Path:
        path = self.manifests / LIBRARY / name.replace(":", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def answer(self, sent: Sent) -> Reply:
        if sent.path == "/api/tags":
            models = []
            for path in sorted(self.manifests.glob("*/*/*/*")):
                name = f"{path.parent.name}:{path.name}"
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                models.append({"name": name, "digest": "0" * 64 if name in self.lies else digest})
            return Reply(200, json.dumps({"models": models}).encode())
        if sent.path == "/api/show":
            return Reply(200, json.dumps({"modelfile": f"FROM {self.folder}/blobs/{BLOB}\n"}).encode())
        assert sent.path == "/api/copy"
        self.copied.append((sent.json()["source"], sent.json()["destination"]))
        return Reply(200)

    def runtime(self, url: str = "http://127.0.0.1:11434") -> OllamaRuntime:
        return OllamaRuntime(OllamaClient(url, transport=Transport(url, handler=self.answer)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "models")
    made.write("law:v1", "old")
    made.write("law:v2", "new")
    made.write("law:latest", "old").chmod(0o640)
    return made


def test_a_name_is_replaced_by_a_rename_and_never_empty(store: Store) -> None:
    place = store.manifests / LIBRARY / "law" / "latest"
    left = store.manifests / ".ggship-killed"
    left.write_text("half")
    os.utime(left, (0, 0))
    before = place.open()  # who reads it now reads it to its end
    inode = place.stat().st_ino
    store.runtime().copy("Law:V2", "law")
    assert place.read_text() == "new"
    assert before.read() == "old"
    assert place.stat().st_ino != inode
    assert place.stat().st_mode & 0o777 == 0o640
    assert store.copied == []
    assert [path.name for path in store.manifests.iterdir()] == ["registry.ollama.ai"]


def _link(store: Store) -> None:
    place = store.manifests / LIBRARY / "law" / "latest"
    place.unlink()
    place.symlink_to(store.manifests / LIBRARY / "law" / "v1")


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.lies.add("law:v2"),
        lambda store: store.lies.add("law:latest"),
        lambda store: (store.manifests / LIBRARY / "law" / "latest").unlink(),
        _link,
    ],
    ids=["another source", "another target", "a new name", "a link"],
)
def test_what_is_not_surely_the_servers_own_file_is_left_to_the_server(
    store: Store, change: Callable[[Store], object]
) -> None:
    change(store)
    files = {path: path.read_text() for path in store.manifests.glob("*/*/*/*")}
    store.runtime().copy("law:v2", "law:latest")
    assert store.copied == [("law:v2", "law:latest")]
    assert {path: path.read_text() for path in store.manifests.glob("*/*/*/*")} == files


def test_a_server_elsewhere_and_one_whose_files_may_not_be_read_copy_themselves(store: Store) -> None:
    store.runtime("http://10.0.0.7:11434").copy("law:v2", "law")
    runtime = store.runtime()
    OllamaRuntime(runtime.client, reads_files=False).copy("law:v2", "law")
    assert len(store.copied) == 2


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("law", "registry.ollama.ai/library/law/latest"),
        ("ns/law:v1", "registry.ollama.ai/ns/law/v1"),
        ("localhost:5000/ns/law:v1", "localhost:5000/ns/law/v1"),
        ("registry.ollama.ai/library/law", "registry.ollama.ai/library/law/latest"),
    ],
)
def test_where_a_manifest_lies(name: str, path: str) -> None:
    assert manifest_path(name) == Path(path)
