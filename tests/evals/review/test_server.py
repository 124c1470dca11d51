"""The page's server: this machine alone, with the token alone, from its own page alone."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ggship.errors import ServerError
from ggship.evals.review.chat import Chat, Models
from ggship.evals.review.server import LARGEST_BODY, ReviewServer
from ggship.runtimes.model import Answer

EMPTY = {"prefer": None, "marks": {}, "edits": {}, "comment": ""}


@dataclass
class Browser:
    """Asks as the page does; every header can be another."""

    server: ReviewServer

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.server.url).query)["token"][0]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        host = f"127.0.0.1:{self.server.port}"
        sent = {
            "Host": host,
            "X-Ggship-Token": self.token,
            "Origin": f"http://{host}",
            "Content-Type": "application/json",
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, content, {name: value for name, value in sent.items() if value})
        reply = connection.getresponse()
        read = reply.read()
        connection.close()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, read

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        status, _, content = self.ask(method, path, body, **headers)
        return status, json.loads(content)


@pytest.fixture
def start(sit: Any, answers: Any) -> Iterator[Callable[..., Browser]]:
    servers = []

    def start(report: Any = None, chat: Chat | None = None, who: str = "anna") -> Browser:
        session = sit(report or answers(3), who)
        server = ReviewServer(session, chat or Chat(None, session._clock, missing="No server here."))
        threading.Thread(target=server.serve, kwargs={"look_every": 0.01}, daemon=True).start()
        servers.append(server)
        return Browser(server)

    yield start
    for server in servers:
        server.stop()
        server.close()


def test_it_listens_on_this_machine_alone(start: Any) -> None:
    assert start().server._http.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/api/state", "/api/case/0", "/api/answer/0/A", "/api/rows", "/nothing"])
@pytest.mark.parametrize("token", ["", "wrong", "\xff", "A" * 43])
def test_without_the_token_nothing_is_told(start: Any, path: str, token: str) -> None:
    status, told = start().json("GET", path, X_Ggship_Token=token)
    assert status == 403
    assert list(told) == ["error"]


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/?tokens=x", "/index.html", "/open/", "/open/x"])
def test_without_the_token_there_is_no_page(start: Any, path: str) -> None:
    status, _, content = start().ask("GET", path, X_Ggship_Token="")
    assert status == 403
    assert b"<html" not in content


@pytest.mark.parametrize("path", ["/api/case/0", "/api/undo", "/api/reveal", "/api/chat"])
@pytest.mark.parametrize(
    "header", [{"X_Ggship_Token": "wrong"}, {"Origin": ""}, {"Origin": "null"}, {"Origin": "http://evil.example"}]
)
def test_writes_need_the_token_and_the_page_itself(start: Any, reviews: Any, path: str, header: Any) -> None:
    assert start().json("POST", path, {**EMPTY, "prefer": "A"}, **header)[0] == 403
    assert reviews.judgements() == ()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:1", "localhost.evil:1", "x", "[::2]:1"]
)
def test_a_name_that_was_bound_anew_is_refused(start: Any, host: str) -> None:
    browser = start()
    assert browser.ask("GET", f"/?token={browser.token}", Host=host)[0] == 403
    assert browser.json("GET", "/api/state", Host=host)[0] == 403
    assert browser.json("POST", "/api/undo", {}, Host=host, Origin=f"http://{host}")[0] == 403


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:9000", "[::1]:9000"])
def test_a_tunnel_may_bring_it_from_another_port(start: Any, host: str) -> None:
    browser = start()
    assert browser.json("GET", "/api/state", Host=host)[0] == 200
    assert browser.json("POST", "/api/case/0", {**EMPTY, "prefer": "A"}, Host=host, Origin=f"http://{host}")[0] == 200


def test_the_page_lets_nothing_run_but_itself(start: Any) -> None:
    browser = start()
    status, headers, content = browser.ask("GET", f"/?token={browser.token}", X_Ggship_Token="")
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert b"http" not in content.replace(b"http-equiv", b"")
    assert browser.token.encode() not in content
    api = browser.ask("GET", "/api/state")[1]
    assert (api["content-security-policy"], api["cache-control"]) == ("default-src 'none'", "no-store")


def test_the_browser_is_sent_to_the_page_once(start: Any) -> None:
    browser = start()
    path = urlsplit(browser.server.opening_url()).path
    assert browser.token not in path
    status, headers, _ = browser.ask("GET", path, X_Ggship_Token="")
    assert (status, headers["location"]) == (303, f"/?token={browser.token}")
    assert browser.ask("GET", path, X_Ggship_Token="")[0] == 403


def test_nothing_is_logged(start: Any, capfd: Any) -> None:
    browser = start()
    browser.ask("GET", f"/?token={browser.token}")
    browser.ask("GET", "/?token=wrong")
    browser.ask("BREW", "/")
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_what_is_said_is_kept_before_the_answer_comes(start: Any, reviews: Any) -> None:
    status, told = start().json("POST", "/api/case/1", {**EMPTY, "prefer": "B", "comment": "一"})
    assert (status, told["state"]["cases"], told["case"]["mine"]["comment"]) == (200, "-p-", "一")
    (one,) = reviews.judgements()
    assert (one.reviewer, one.comment) == ("anna", "一")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"\xff", {}, 400),
        ({"prefer": "A"}, {}, 400),
        (EMPTY, {"Content_Type": "text/plain"}, 415),
        (b"x" * (LARGEST_BODY + 1), {}, 413),
        (b"{}", {"Content_Length": "-1"}, 411),
        (b"{}", {"Content_Length": "x"}, 411),
    ],
)
def test_bad_bodies_are_answered_and_nothing_is_kept(
    start: Any, reviews: Any, body: Any, headers: Any, status: int
) -> None:
    browser = start()
    try:
        found, told = browser.json("POST", "/api/case/0", body, **headers)
    except (BrokenPipeError, ConnectionResetError):  # it does not wait for what is too long
        assert status == 413
    else:
        assert (found, list(told)) == (status, ["error"])
    assert reviews.judgements() == ()
    assert browser.json("GET", "/api/state")[0] == 200


@pytest.mark.parametrize(
    "path", ["/api/case/3", "/api/case/-1", "/api/case/x", "/api/case/", "/api/case/%EF%BC%91", "/api/case/9999999999"]
)
def test_there_are_only_the_cases_that_there_are(start: Any, path: str) -> None:
    assert start().json("GET", path)[0] == 400


def test_a_full_disk_is_said(start: Any, reviews: Any) -> None:
    browser = start()
    browser.json("POST", "/api/case/0", {**EMPTY, "prefer": "A"})
    (path,) = reviews.folder.glob("*.jsonl")
    path.unlink()
    path.mkdir()  # whatever the reason, it cannot be written
    status, told = browser.json("POST", "/api/case/0", {**EMPTY, "prefer": "B"})
    assert status == 507
    assert told["error"].startswith("this was not kept")


def test_what_is_final_is_a_conflict(start: Any, answers: Any, sit: Any, judge_all: Any) -> None:
    report = answers(2)
    browser = start(report)
    assert browser.json("POST", "/api/reveal", {})[0] == 409
    assert browser.json("GET", "/api/rows")[0] == 409
    judge_all(sit(report))
    assert browser.json("POST", "/api/reveal", {})[1]["state"]["revealed"]
    assert browser.json("POST", "/api/case/0", EMPTY)[0] == 409
    assert dict(browser.json("GET", "/api/rows")[1]["rows"])["read"] == "2 of 2 cases"


@dataclass
class Talker:
    """An endpoint whose words can be heard one by one."""

    label: str
    pieces: tuple[Any, ...] = ("a ", "b")
    heard: int = 0

    @property
    def model(self) -> str:
        return self.label

    def chat(self, messages: Any, options: Any) -> Answer:
        return self.speak(messages, options, lambda _: None)

    def speak(self, messages: Any, options: Any, on_text: Any) -> Answer:
        for piece in (f"{self.label}: ", *self.pieces):
            if isinstance(piece, Exception):
                raise piece
            self.heard += 1
            on_text(piece)
        return Answer("", "stop", 0.0)

    def render(self, messages: Any) -> None:
        return None

    def digest(self) -> None:
        return None


@dataclass
class Desk:
    """Both models, and how often they were opened and given back; a clock that can be moved."""

    tuned: Any
    base: Any
    opened: int = 0
    closed: int = 0
    seconds: float = 0.0
    thread: str = ""

    @contextmanager
    def open(self) -> Iterator[Models]:
        self.opened += 1
        self.thread = threading.current_thread().name
        yield Models(self.tuned, self.base, "" if self.base else "the base is not at hand")
        self.closed += 1
        assert threading.current_thread().name == self.thread  # a file lock is given back by who took it

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> Any:
        raise AssertionError

    def sleep(self, seconds: float) -> None:
        raise AssertionError

    def chat(self) -> Chat:
        return Chat(self.open, self)


def question(place: str = "A", conversation: str = "talk", words: str = "hi") -> dict[str, Any]:
    return {"conversation": conversation, "place": place, "turns": [{"role": "user", "content": words}]}


def lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def test_both_models_can_be_asked_and_no_name_is_told(start: Any) -> None:
    desk = Desk(Talker("x"), Talker("y"))
    browser = start(chat=desk.chat())
    assert browser.json("GET", "/api/state")[1]["chat"] == {"can": True, "why": "", "blind": True}
    first = set()
    for number in range(12):
        said = []
        for place in "AB":
            status, _, content = browser.ask("POST", "/api/chat", question(place, f"talk {number}"))
            assert status == 200
            *pieces, end = lines(content)
            assert end == {"done": True}
            said.append("".join(piece["text"] for piece in pieces))
        assert sorted(said) == ["x: a b", "y: a b"]
        first.add(said[0][0])
    assert first == {"x", "y"}  # drawn anew for each conversation
    assert desk.opened == 1


def test_with_one_model_alone_there_is_no_chat_before_all_is_judged(
    start: Any, answers: Any, sit: Any, judge_all: Any
) -> None:
    report = answers(1)
    browser = start(report, Desk(Talker("x"), None).chat())
    status, told = browser.json("POST", "/api/chat", question())
    assert status == 503
    assert "the base is not at hand" in told["error"]
    judge_all(sit(report))
    browser.json("POST", "/api/reveal", {})
    assert lines(browser.ask("POST", "/api/chat", question("A"))[2])[0] == {"text": "x: "}


def test_without_a_server_the_chat_says_so(start: Any) -> None:
    browser = start()
    assert browser.json("GET", "/api/state")[1]["chat"] == {"can": False, "why": "No server here.", "blind": True}
    assert browser.json("POST", "/api/chat", question()) == (409, {"error": "No server here."})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**question(), "place": "tuned"},
        {**question(), "turns": []},
        {**question(), "turns": [{"role": "system", "content": "x"}]},
        {**question(), "turns": [{"role": "user", "content": 1}]},
        {**question(), "conversation": "x" * 101},
    ],
)
def test_what_is_no_question_is_refused(start: Any, body: Any) -> None:
    assert start(chat=Desk(Talker("x"), Talker("y")).chat()).json("POST", "/api/chat", body)[0] == 400


def test_a_server_that_fails_is_said_before_and_within_an_answer(start: Any) -> None:
    gone = ServerError("nothing answers", where="here", hint="start it")
    browser = start(chat=Desk(Talker("x", ("a", gone)), Talker("y", ("a", gone))).chat())
    assert lines(browser.ask("POST", "/api/chat", question())[2])[-1] == {"error": "nothing answers. here. start it"}

    @contextmanager
    def fails() -> Iterator[Models]:
        raise gone
        yield

    browser = start(chat=Chat(fails, Desk(None, None)))
    assert browser.json("POST", "/api/chat", question()) == (503, {"error": "nothing answers. here. start it"})


def test_a_model_that_never_ends_is_ended(start: Any) -> None:
    class Endless(Talker):
        def speak(self, messages: Any, options: Any, on_text: Any) -> Answer:
            while True:
                on_text("word " * 1000)

    browser = start(chat=Desk(Endless("x"), Endless("y")).chat())
    *pieces, end = lines(browser.ask("POST", "/api/chat", question())[2])
    assert end == {"done": True}
    assert sum(len(piece["text"]) for piece in pieces) == 100_000


def test_models_are_given_back_when_nobody_asks(start: Any) -> None:
    desk = Desk(Talker("x"), Talker("y"))
    browser = start(chat=desk.chat())
    browser.ask("POST", "/api/chat", question())
    assert (desk.opened, desk.closed) == (1, 0)
    desk.seconds = 181.0
    deadline = time.monotonic() + 10
    while not desk.closed and time.monotonic() < deadline:
        time.sleep(0.02)
    assert desk.closed == 1
    browser.ask("POST", "/api/chat", question())
    assert desk.opened == 2
