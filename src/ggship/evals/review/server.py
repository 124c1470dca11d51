"""The local page: one reviewer's session over HTTP, for this machine's browser and nobody else.

It listens on 127.0.0.1 alone. Every request needs the token of this server, which is in the address that is printed
(pages take it from there and send it in a header). A Host other than this machine's names is refused (DNS rebinding),
and a write from a page of another origin too. Nothing is logged, so the token is in no log.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ggship.errors import GgshipError, Refused, UsageError
from ggship.evals.review.chat import Chat
from ggship.evals.review.page import Page, load_page
from ggship.evals.review.session import Session

HOST = "127.0.0.1"
TOKEN_HEADER = "X-Ggship-Token"
LARGEST_BODY = 2_000_000  # bytes
SLOWEST_REQUEST = 30  # seconds to send one
_NAMES = ("127.0.0.1", "localhost", "[::1]")  # a tunnel may have brought them here from another port
_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ReviewServer:
    """Serves one session until it is stopped. port 0: any free one. Raises OSError where the port is taken."""

    def __init__(self, session: Session, chat: Chat, *, port: int = 0) -> None:
        self._context = _Context(session, chat, load_page())
        self._http = _Server((HOST, port), _Handler)
        self._http.context = self._context

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://{HOST}:{self.port}/?token={self._context.token}"

    def opening_url(self) -> str:
        """An address that leads to the page once: the command line of a browser is no place for the token."""
        self._context.once = secrets.token_urlsafe(32)
        return f"http://{HOST}:{self.port}/open/{self._context.once}"

    def serve(self, *, look_every: float = 0.2) -> None:
        """Answer until `stop` is called or the user interrupts. look_every: seconds until `stop` is noticed."""
        self._http.serve_forever(poll_interval=look_every)

    def stop(self) -> None:
        """End `serve`, from another thread."""
        self._http.shutdown()

    def close(self) -> None:
        """Free the port and the models."""
        self._http.server_close()
        self._context.chat.close()


@dataclass
class _Context:
    session: Session
    chat: Chat
    page: Page
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    once: str = ""
    turn: threading.Lock = field(default_factory=threading.Lock)

    def use_once(self, given: str) -> bool:
        """Whether this is the address that leads to the page, for the first time."""
        with self.turn:
            right = bool(self.once) and secrets.compare_digest(given.encode(), self.once.encode())
            if right:
                self.once = ""
            return right


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: _Context

    def service_actions(self) -> None:
        """Called now and then while it serves."""
        self.context.chat.close_if_idle()


class _Refusal(Exception):
    """Answered with a status and a sentence."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    timeout = SLOWEST_REQUEST
    server_version = "ggship"
    sys_version = ""

    @property
    def _context(self) -> _Context:
        server = self.server
        assert isinstance(server, _Server)
        return server.context

    def do_GET(self) -> None:
        """Pages and what they ask."""
        self._guarded(self._get)

    def do_POST(self) -> None:
        """What the reviewer says."""
        self._guarded(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the first line of a request holds the token."""

    def _guarded(self, answer: Callable[[str, Mapping[str, list[str]]], None]) -> None:
        try:
            self._check_host()
            parts = urlsplit(self.path)
            answer(parts.path, parse_qs(parts.query))
        except _Refusal as refusal:
            self._json({"error": str(refusal)}, refusal.status)
        except (UsageError, Refused) as error:
            status = HTTPStatus.CONFLICT if isinstance(error, Refused) else HTTPStatus.BAD_REQUEST
            self._json({"error": error.message}, status)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True
        except OSError as error:  # a full disk: the page must say that nothing was kept
            self._json({"error": f"this was not kept: {error.strerror or error}"}, HTTPStatus.INSUFFICIENT_STORAGE)

    def _check_host(self) -> None:
        host = self.headers.get("Host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in _NAMES:
            raise _Refusal(HTTPStatus.FORBIDDEN, "this page is for this machine alone")

    def _check_token(self, given: str) -> None:
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self._context.token.encode()):
            raise _Refusal(HTTPStatus.FORBIDDEN, "the address lacks the token that `ggship review` printed")

    def _get(self, path: str, query: Mapping[str, list[str]]) -> None:
        session = self._context.session
        if path.startswith("/open/"):
            if not self._context.use_once(path.removeprefix("/open/")):
                raise _Refusal(HTTPStatus.FORBIDDEN, "this address was used before; take the one that was printed")
            self._send(HTTPStatus.SEE_OTHER, b"", {"Location": f"/?token={self._context.token}"})
            return
        if path == "/":
            self._check_token((query.get("token") or [""])[0])
            page = self._context.page
            content = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page.policy}
            self._send(HTTPStatus.OK, page.html, content)
            return
        self._check_token(self.headers.get(TOKEN_HEADER, ""))
        if path == "/api/state":
            self._json({**session.state(), "chat": self._context.chat.about(session.revealed)})
        elif path == "/api/rows":
            self._json({"rows": session.rows()})
        elif path.startswith("/api/case/"):
            self._json(session.case(_number(path.removeprefix("/api/case/"))))
        elif path.startswith("/api/answer/"):
            number, _, place = path.removeprefix("/api/answer/").partition("/")
            self._json({"text": session.answer(_number(number), place)})
        else:
            raise _Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this address")

    def _post(self, path: str, _: Mapping[str, list[str]]) -> None:
        self._check_token(self.headers.get(TOKEN_HEADER, ""))
        if self.headers.get("Origin", "") != f"http://{self.headers.get('Host', '')}":
            raise _Refusal(HTTPStatus.FORBIDDEN, "this comes from another page")
        body = self._body()
        session = self._context.session
        if path.startswith("/api/case/"):
            self._json(session.judge(_number(path.removeprefix("/api/case/")), body))
        elif path == "/api/undo":
            self._json(session.undo())
        elif path == "/api/reveal":
            self._json(session.reveal())
        elif path == "/api/chat":
            self._stream(body)
        else:
            raise _Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this address")

    def _body(self) -> Mapping[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or "Transfer-Encoding" in self.headers:
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "a request says how long it is")
        if int(length) > LARGEST_BODY:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "that is too long to be kept")
        if self.headers.get_content_type() != "application/json":
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "requests are JSON")
        try:
            value = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "this is no JSON") from None
        if not isinstance(value, dict):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "a request is a JSON object")
        return value

    def _stream(self, asked: Mapping[str, Any]) -> None:
        """A JSON value a line: {"text": ...} as it comes, then {"done": true}, or {"error": ...}."""
        began = False

        def say(text: str) -> None:
            nonlocal began
            if not began:
                self._send(HTTPStatus.OK, None, {"Content-Type": "application/x-ndjson"})
                began = True
            self._line({"text": text})

        try:
            self._context.chat.answer(self._context.session, asked, say)
            say("")
            self._line({"done": True})
        except (UsageError, Refused):
            raise
        except GgshipError as error:
            if not began:
                raise _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, _words(error)) from error
            self._line({"error": _words(error)})

    def _line(self, value: Mapping[str, Any]) -> None:
        self.wfile.write(json.dumps(value).encode() + b"\n")
        self.wfile.flush()

    def _json(self, value: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: HTTPStatus, content: bytes | None, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Security-Policy": "default-src 'none'", **_HEADERS, **headers}.items():
            self.send_header(name, value)
        if content is not None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if content:
            self.wfile.write(content)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise UsageError("a case has a number")
    return int(text)


def _words(error: GgshipError) -> str:
    return ". ".join(part for part in (error.message, error.where, error.hint) if part)
