"""Releases on an Ollama in memory, behind the HTTP seam, whose client can be killed at any request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from ggship.releases.history import History, read_history
from ggship.releases.proofs import Proof
from ggship.releases.releasing import Released, journal_of, put_live, release
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient
from ggship.transport import Reply, Sent, Transport

PROOF = Proof(True, "96.4 % of 28 cases, base 0 %", ("✓ pass_rate >= 0.8 (observed 0.9643)",), "law", "/dist/law")


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Shelf:
    """A server and the runtime on it. models: full name -> digest. `law` is the public name; a letter is a model.

    die: at the request of that number, before it is carried out or, with `answered`, after.
    """

    url: str = "http://127.0.0.1:11999"
    models: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    die: int = 0
    answered: bool = False

    def __post_init__(self) -> None:
        client = OllamaClient(self.url, transport=Transport(self.url, handler=self.answer))
        self.runtime = OllamaRuntime(client, reads_files=False)

    def answer(self, sent: Sent) -> Reply:
        self.requests += 1
        last = self.requests == self.die
        if last and not self.answered:
            raise Killed
        reply = self._answer(sent)
        if last:
            raise Killed
        return reply

    def _answer(self, sent: Sent) -> Reply:
        if sent.path == "/api/tags":
            listed = [f'{{"name": "{name}", "digest": "{digest}"}}' for name, digest in self.models.items()]
            return Reply(200, f'{{"models": [{", ".join(listed)}]}}'.encode())
        if sent.path == "/api/version":
            return Reply(200, b'{"version": "0.34.4"}')
        body = sent.json()
        if sent.path == "/api/copy":
            source = _full(body["source"])
            if source not in self.models:
                return Reply(404, b'{"error": "model not found"}')
            self.models[_full(body["destination"])] = self.models[source]
            return Reply(200)
        assert (sent.method, sent.path) == ("DELETE", "/api/delete")
        return Reply(200 if self.models.pop(_full(body["model"]), None) else 404)

    def of(self, letter: str) -> str:
        """The digest of the model of that letter."""
        return hashlib.sha256(letter.encode()).hexdigest()

    def hold(self, name: str, letter: str) -> None:
        self.models[_full(name)] = self.of(letter)

    def digest(self, name: str) -> str:
        return self.models.get(_full(name), "")

    def release(self, letter: str, name: str = "law", *, passed: bool = True) -> Released:
        """As the last stage of packaging does it."""
        staging = f"{name.partition(':')[0]}:ggship-staging"
        self.hold(staging, letter)
        proof = PROOF if passed else Proof(False)
        done = release(self.runtime, staging, name, self.of(letter), proof)
        del self.models[staging]
        return done

    def put(self, number: int | None = None, kind: Any = "promote", name: str = "law") -> Released:
        return put_live(self.runtime, name, number, kind=kind)

    def history(self, name: str = "law") -> History:
        return read_history(self.runtime, journal_of(self.runtime, name))


def _full(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()
