"""Ollama's HTTP API, call by call, with every trap of it handled here once.

Source: Ollama 0.32.14 and 0.34.4, api/types.go and server/routes.go, tried on real servers of both versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ggship.clock import Clock, SystemClock
from ggship.errors import GgshipError, ServerError, ServerUnreachable, UsageError
from ggship.runtimes.gathering import ANSWER_SECONDS
from ggship.runtimes.hosts import parse_ollama_host
from ggship.runtimes.model import Progress, Tools
from ggship.runtimes.names import check_model_name, full_name, suggest_name
from ggship.runtimes.ollama_errors import explain, refusal
from ggship.secrets import HIDDEN
from ggship.transport import Reply, Transport

__all__ = ["OllamaClient", "check_model_name", "full_name", "parse_ollama_host", "suggest_name"]

BLOCK = 1 << 20
# 503 is Ollama's "server busy"; asking again is safe for what changes nothing.
BUSY = 503
_ACCOUNT_SECONDS = 15.0
WAITS = (0.5, 1.0, 2.0)

Event = Mapping[str, Any]


class OllamaClient:
    """One Ollama server. Every method raises ServerUnreachable where nothing answers, ServerError where it fails.

    host: as OLLAMA_HOST has it. Nothing is ever pulled from a network but by `pull`.
    """

    def __init__(self, host: str, *, transport: Transport | None = None, clock: Clock | None = None) -> None:
        self.url = parse_ollama_host(host)
        scheme, _, rest = self.url.partition("://")
        if "@" in rest.partition("/")[0]:
            raise UsageError(
                "an address of an Ollama server carries no password: it ends up in packages, logs and process lists",
                where=f"{scheme}://{HIDDEN}@...",
                hint="Ollama itself knows none; a proxy that wants one is no place for it either",
            )
        self._http = transport or Transport(self.url)
        self._clock = clock or SystemClock()

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def version(self, *, read_seconds: float | None = None) -> str:
        """The server's version: "0.34.4"; "0.0.0" of a build from source."""
        reply = self._http.request("GET", "/api/version", read_seconds=read_seconds)
        if not reply.ok:
            error = refusal(reply, self.url, "tell its version")
            if reply.status != 403:
                error.hint = "is this an Ollama? Its address is http://HOST:11434"
            raise error
        value = self._value(reply, "tell its version")
        if not isinstance(value.get("version"), str):
            raise ServerError(
                "this is no Ollama: /api/version has no version", where=f"{self.url}: {reply.text()[:200]}"
            )
        return str(value["version"])

    def tags(self) -> list[dict[str, Any]]:
        """Every model that the server holds: name, digest (of its manifest), size, details."""
        value = self._value(self._ask("GET", "/api/tags", None, "list its models"), "list its models")
        return list(value.get("models") or [])

    def digest(self, name: str) -> str | None:
        """The digest of the manifest of that name, 64 hex digits; None where the server holds no such model."""
        wanted = full_name(name).lower()
        for model in self.tags():
            if full_name(str(model.get("name", ""))).lower() == wanted:
                return str(model["digest"]).removeprefix("sha256:")
        return None

    def show(self, name: str, *, verbose: bool = False) -> dict[str, Any]:
        """/api/show as it is. ServerError with status 404 where there is no such model.

        Since 0.34 the `tensors` come only with `verbose`; before always, and verbosely with megabytes of vocabulary.
        """
        action = f"show {name}"
        return self._value(self._ask("POST", "/api/show", {"model": name, "verbose": verbose}, action), action)

    def has_blob(self, digest: str) -> bool:
        """Whether the server holds the blob "sha256:<hex>"."""
        reply = self._ask("HEAD", f"/api/blobs/{digest}", None, "look for a blob", expect=(200, 404))
        return reply.status == 200

    def upload(self, path: Path, on_progress: Progress | None = None) -> str:
        """Give the file to the server as a blob, unless it holds it; the digest "sha256:<hex>".

        The file is read in blocks of 1 MiB, once for its digest and once more to be sent.
        """
        report = on_progress or _silent
        size = path.stat().st_size
        digest = _digest(path, size, report)
        if self.has_blob(digest):
            report("uploading", size, size)
            return digest
        reply = self._http.request(
            "POST",
            f"/api/blobs/{digest}",
            content=_blocks(path, size, report, "uploading"),
            headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"},
        )
        if not reply.ok:
            raise refusal(reply, self.url, f"take {path.name}")
        return digest

    def create(self, request: Mapping[str, Any], on_status: Callable[[Event], None] | None = None) -> None:
        """POST /api/create: `request` has `model`, and `from` or `files`, and the rest of api.CreateRequest.

        The first error is final, also where it comes inside an answer of status 200; only an answer that ends with
        "success" is one. Raises AdaptersRefused where the server takes none.
        """
        self._events("/api/create", request, f"create {request.get('model')}", on_status)

    def chat(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """POST /api/chat, the whole answer at once. Times are in nanoseconds, as Ollama gives them."""
        action = f"answer as {request.get('model')}"
        return self._value(self._ask("POST", "/api/chat", {**request, "stream": False}, action), action)

    def chat_stream(self, request: Mapping[str, Any]) -> Iterator[Event]:
        """POST /api/chat, piece by piece; the last one has `done`. ServerError where the answer breaks off."""
        yield from self._pieces("/api/chat", request)

    def embed(self, name: str, texts: Sequence[str]) -> Any:
        """POST /api/embed: the list of vectors, as the server gives it. A text too long is an error, and never cut."""
        action = f"make embeddings with {name}"
        request = {"model": name, "input": list(texts), "truncate": False}
        return self._value(self._ask("POST", "/api/embed", request, action), action).get("embeddings")

    def generate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """POST /api/generate, the whole answer at once."""
        action = f"answer as {request.get('model')}"
        return self._value(self._ask("POST", "/api/generate", {**request, "stream": False}, action), action)

    def render(
        self, name: str, messages: Sequence[Mapping[str, object]], *, think: bool | None = None, tools: Tools = ()
    ) -> str | None:
        """The prompt that the server makes of these messages; None where it cannot tell (before 0.11.5).

        think: as in a request of chat; None leaves it to the server, where a model that can think does. The model is
        loaded for it, so that an adapter which does not fit is found here too.
        """
        request: dict[str, Any] = {
            "model": name,
            "messages": list(messages),
            "_debug_render_only": True,
            # A server that does not know the field generates: then at most one token.
            "options": {"num_predict": 1},
        }
        if think is not None:
            request["think"] = think
        if tools:
            request["tools"] = [dict(tool) for tool in tools]
        answer = self.chat(request)
        info = answer.get("_debug_info")
        text = info.get("rendered_template") if isinstance(info, dict) else None
        return text if isinstance(text, str) else None

    def takes_adapters(self) -> bool | None:
        """Ask the server itself, with a request that no version carries out; None where its answer tells nothing.

        0.34.4 looks at `adapters` before the name and refuses them; 0.32.14 gets as far as the name, which is none.
        """
        probe = {"model": "*", "adapters": {"adapter.gguf": "sha256:" + "0" * 64}, "stream": False}
        reply = self._http.request("POST", "/api/create", json=probe)
        error = refusal(reply, self.url, "create a model")
        if not isinstance(error, ServerError):
            return False
        return True if reply.status == 400 and "invalid model name" in error.where else None

    def copy(self, source: str, target: str) -> None:
        """Give a model a second name; whatever had it before is replaced at once."""
        check_model_name(target)
        self._ask("POST", "/api/copy", {"source": source, "destination": target}, f"copy {source} to {target}")

    def delete(self, name: str) -> bool:
        """Take a name away; whether it was there."""
        reply = self._ask("DELETE", "/api/delete", {"model": name}, f"delete {name}", expect=(200, 404))
        return reply.status == 200

    def ps(self) -> list[dict[str, Any]]:
        """The models that are loaded now."""
        value = self._value(self._ask("GET", "/api/ps", None, "list what runs"), "list what runs")
        return list(value.get("models") or [])

    def account(self) -> dict[str, Any] | None:
        """Who the server is signed in as on ollama.com: {"name"}, or {"signin_url"} where nobody is.

        None where it cannot tell: it knows no such question (before 0.12), or does not reach ollama.com.
        """
        try:
            reply = self._http.request("POST", "/api/me", read_seconds=_ACCOUNT_SECONDS)
            value = reply.json() if reply.ok or reply.status == 401 else None
        except ServerUnreachable:
            raise
        except ServerError:
            return None
        if not isinstance(value, dict):
            return None
        name = value.get("name") or value.get("Name") or ""
        return {**value, "name": name} if name or reply.status == 401 else None

    def push(self, name: str, *, insecure: bool = False, on_progress: Progress | None = None) -> None:
        """Push a model to the registry that its name begins with. insecure: the registry speaks plain HTTP."""
        self._events("/api/push", {"model": name, "insecure": insecure}, f"push {name}", events(on_progress))

    def pull(self, name: str, *, insecure: bool = False, on_progress: Progress | None = None) -> None:
        """Fetch a model from the network: the only call that does, and never called unless the user asked."""
        self._events("/api/pull", {"model": name, "insecure": insecure}, f"pull {name}", events(on_progress))

    def _ask(self, method: str, path: str, body: Any, action: str, *, expect: tuple[int, ...] = ()) -> Reply:
        """A request that may be made twice, so that a busy server is asked again a few times."""
        for wait in (*WAITS, None):
            reply = self._http.request(method, path, json=body)
            if reply.status != BUSY or wait is None:
                break
            self._clock.sleep(wait)
        if reply.ok or reply.status in expect:
            return reply
        raise refusal(reply, self.url, action)

    def _value(self, reply: Reply, action: str) -> dict[str, Any]:
        """The answer as an object. An error inside a 200 is an error."""
        value = reply.json()
        if not isinstance(value, dict):
            raise ServerError(
                "the server's answer is not what Ollama's would be", where=f"{self.url}: {reply.text()[:200]}"
            )
        if "error" in value:
            raise explain(str(value["error"]), self.url, action, reply.status)
        return value

    @contextmanager
    def _stream(
        self, path: str, request: Mapping[str, Any], action: str, within: float | None = None
    ) -> Iterator[Iterator[Event]]:
        with self._http.stream("POST", path, json={**request, "stream": True}, within=within) as (reply, lines):
            if not reply.ok:
                raise refusal(reply, self.url, action)
            yield self._decoded(lines, action)

    def _decoded(self, lines: Iterator[str], action: str) -> Iterator[Event]:
        for line in lines:
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError as error:
                raise ServerError(
                    f"Ollama could not {action}: a line of its answer is not JSON",
                    where=f"{self.url}: {line[:200]}",
                    hint="is there a proxy between? Ask the server directly",
                ) from error
            if not isinstance(event, dict):
                raise ServerError(f"Ollama could not {action}: an unexpected answer", where=f"{self.url}: {line[:200]}")
            if "error" in event:
                raise explain(str(event["error"]), self.url, action)
            yield event

    def _events(
        self, path: str, request: Mapping[str, Any], action: str, on_status: Callable[[Event], None] | None
    ) -> None:
        last = ""
        try:
            with self._stream(path, request, action) as events:
                for event in events:
                    last = str(event.get("status", ""))
                    if on_status:
                        on_status(event)
        except ServerError as error:
            raise _after(error, last) from error
        # An implicit pull has a "success" of its own, so only the last line counts.
        if last != "success":
            raise ServerError(
                f"Ollama could not {action}: its answer ended before the end",
                where=f"{self.url}: last status: {last or '(none)'}",
                hint="the server may have been stopped: run the same command again",
            )

    def _pieces(self, path: str, request: Mapping[str, Any]) -> Iterator[Event]:
        action = f"answer as {request.get('model')}"
        for wait in (*WAITS, None):
            try:
                with self._stream(path, request, action, ANSWER_SECONDS) as events:
                    done = False
                    for event in events:
                        done = bool(event.get("done"))
                        yield event
                if not done:
                    raise ServerError(
                        f"Ollama could not {action}: the answer broke off",
                        where=self.url,
                        hint="run the same command again",
                    )
                return
            except ServerError as error:
                if error.status != BUSY or wait is None:
                    raise
                self._clock.sleep(wait)


def _after(error: ServerError, last: str) -> GgshipError:
    if last:
        error.where = f"{error.where} (after: {last})"
    if not error.hint:
        error.hint = "run the same command again; `ggship doctor` says whether the server answers"
    return error


def events(on_progress: Progress | None) -> Callable[[Event], None] | None:
    """What hears the events of a create, a push or a pull, and passes them on as progress."""
    if on_progress is None:
        return None
    return lambda event: on_progress(
        str(event.get("status", "")), int(event.get("completed") or 0), int(event.get("total") or 0)
    )


def _silent(status: str, completed: int, total: int) -> None:
    """Nobody watches."""


def _digest(path: Path, size: int, report: Progress) -> str:
    sha = hashlib.sha256()
    for block in _blocks(path, size, report, "hashing"):
        sha.update(block)
    return f"sha256:{sha.hexdigest()}"


def _blocks(path: Path, size: int, report: Progress, status: str) -> Iterator[bytes]:
    done = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
            done += len(block)
            report(status, done, size)
