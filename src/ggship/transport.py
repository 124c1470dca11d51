"""The seam for HTTP: the only module that imports the HTTP library, so that replacing it touches one file."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ggship import __version__
from ggship.clock import Clock, SystemClock
from ggship.errors import ServerError, ServerSilent, ServerUnreachable, UsageError

# httpx imports a command line of its own, with rich and pygments, where those are installed, and does without where
# they are not (httpx/__init__.py). We never need it, and each of our commands would wait 0.05 s for it.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
import httpx  # noqa: E402, TID251  (this is the one place)

if sys.modules["httpx._main"] is None:
    del sys.modules["httpx._main"]  # whoever asks for it later has it

CONNECT_SECONDS = 5.0
READ_SECONDS = 600.0
WRITE_SECONDS = 60.0  # without a byte taken: a server thinks before it answers, never before it reads
LINE_BYTES = 64 << 20
ANSWER_BYTES = 512 << 20
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy")
AGAIN = "look after the server, then run the same command again: what is done is not done twice"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as a test's handler sees it."""

    method: str
    url: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response. `body` is bytes; `headers` has lower-case keys."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body, decoded; ServerError where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ServerError(
                "the server's answer is not JSON", where=self.text()[:200] or "(empty body)", status=self.status
            ) from error

    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 become U+FFFD."""
        return self.body.decode("utf-8", "replace")


Handler = Callable[[Sent], Reply]


def is_loopback(url: str) -> bool:
    """Whether the address names this machine itself."""
    try:
        host = urlsplit(url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Transport:
    """Talks HTTP to one server. Follows no redirect: a secret must never travel to a host the user did not name.

    read_seconds, write_seconds: how long nothing may come, or be taken. `handler` replaces the network: a function from
    Sent to Reply, for tests; clock: what `within` is measured by. Raises UsageError where the proxy that the
    environment names cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        read_seconds: float = READ_SECONDS,
        write_seconds: float = WRITE_SECONDS,
        handler: Handler | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self.base_url = base_url.rstrip("/")
        self._write_seconds = write_seconds
        try:
            self._client = httpx.Client(
                headers={"User-Agent": f"ggship/{__version__}", **(headers or {})},
                timeout=self._timeout(read_seconds),
                follow_redirects=False,
                # Reading the certificates takes 0.1 s, and plain http has none.
                verify=base_url.lower().startswith("https"),
                trust_env=not is_loopback(base_url),  # a proxy from the environment cannot reach our own loopback
                transport=_mock(handler) if handler else None,
            )
        except UnicodeEncodeError:
            raise UsageError("a header holds characters outside ASCII", where=f"for {base_url}") from None
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            _refuse_proxy(error)
            raise

    def _timeout(self, read_seconds: float) -> httpx.Timeout:
        return httpx.Timeout(read_seconds, connect=CONNECT_SECONDS, write=self._write_seconds)

    def close(self) -> None:
        """Drop the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        read_seconds: float | None = None,
    ) -> Reply:
        """Send one request and read the whole answer, whatever its status.

        Raises ServerUnreachable where nothing answers, ServerError where the connection breaks or takes too long.
        """
        with self._errors(method, path):
            response = self._client.request(
                method,
                self.base_url + path,
                json=json,
                content=content,
                headers=dict(headers or {}),
                timeout=httpx.USE_CLIENT_DEFAULT if read_seconds is None else self._timeout(read_seconds),
            )
        return _reply(response, response.content)

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        within: float | None = None,
    ) -> Iterator[tuple[Reply, Iterator[str]]]:
        """Send one request and give (status and headers, lines of the body as they come).

        A line ends with a newline and with nothing else: JSON has U+2028 and its like inside texts. Where the status is
        an error, the Reply carries the whole body and there are no lines. within: seconds that all of it may take, and
        then it may not be endless either. Raises ServerError for a line, or an answer, without end.
        """
        with (
            self._errors(method, path),
            self._client.stream(method, self.base_url + path, json=json, headers=dict(headers or {})) as response,
        ):
            if response.is_success:
                yield _reply(response, b""), self._lines(response, method, path, within)
            else:
                yield _reply(response, response.read()), iter(())

    def _lines(self, response: httpx.Response, method: str, path: str, within: float | None) -> Iterator[str]:
        left, began, total = bytearray(), self._clock.monotonic(), 0
        with self._errors(method, path):
            for data in response.iter_bytes():
                total += len(data)
                if within is not None and (self._clock.monotonic() - began > within or total > ANSWER_BYTES):
                    raise ServerError(
                        "the server's answer has no end", where=f"{method} {self.base_url}{path}", status=200
                    )
                *whole, rest = data.split(b"\n")
                for line in whole:
                    yield (left + line).decode("utf-8", "replace")
                    left.clear()
                left += rest
                if len(left) > LINE_BYTES:
                    raise ServerError(
                        "a line of the server's answer has no end", where=f"{method} {self.base_url}{path}"
                    )
        if left:
            yield left.decode("utf-8", "replace")

    @contextmanager
    def _errors(self, method: str, path: str) -> Iterator[None]:
        where = f"{method} {self.base_url}{path}"
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerUnreachable(
                f"nothing answers at {self.base_url}", where=f"{where}: {error}", hint="is the server started?"
            ) from error
        except httpx.WriteTimeout as error:
            raise ServerError("the server stopped taking what is sent to it", where=where, hint=AGAIN) from error
        except httpx.TimeoutException as error:
            raise ServerSilent("the server took too long to answer", where=where, hint=AGAIN) from error
        except httpx.LocalProtocolError:
            # Its words repeat the header that cannot be sent, and that may be a key.
            raise ServerError("the request cannot be sent: one of its headers is not valid", where=where) from None
        except httpx.HTTPError as error:
            raise ServerError("the connection broke", where=f"{where}: {error}", hint=AGAIN) from error
        except httpx.InvalidURL as error:
            raise ServerError(f"this is no address: {self.base_url}", where=str(error)) from error


def _refuse_proxy(error: Exception) -> None:
    """Say what httpx has against a proxy of the environment, without its address: that may hold a password."""
    named = " and ".join(name for name in _PROXIES if os.environ.get(name))
    if named:
        raise UsageError(
            "the proxy that the environment names cannot be used",
            where=f"{named} is set ({type(error).__name__})",
            hint=f"unset {named}, or for a SOCKS proxy: pip install 'httpx[socks]'",
        ) from None


def _reply(response: httpx.Response, body: bytes) -> Reply:
    return Reply(response.status_code, body, {key.lower(): value for key, value in response.headers.items()})


def _mock(handler: Handler) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        sent = Sent(
            method=request.method,
            url=str(request.url),
            path=request.url.raw_path.decode("ascii"),
            headers={key.lower(): value for key, value in request.headers.items()},
            body=request.content,
        )
        reply = handler(sent)
        return httpx.Response(reply.status, content=reply.body, headers=dict(reply.headers))

    return httpx.MockTransport(answer)
