"""What travels over HTTP arrives as it was sent, and what goes wrong on the way shows no secret."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from ggship.errors import ServerError, UsageError
from ggship.runtimes.ollama_api import OllamaClient
from ggship.transport import LINE_BYTES, Reply, Transport

KEY = "sk-very-secret-1234"
AT = "http://server.test"
_BREAKS = "a\u2028b\u2029c\x85d"


def lines(body):
    with Transport(AT, handler=lambda _: Reply(200, body)).stream("GET", "/") as (_, found):
        return list(found)


def test_a_line_ends_with_a_newline_and_with_nothing_else():
    first, second = {"text": _BREAKS}, {"text": "法律"}
    body = "\n".join(json.dumps(value, ensure_ascii=False) for value in (first, second)).encode()
    assert [json.loads(line) for line in lines(body)] == [first, second]
    assert lines(body + b"\n") == lines(body)
    assert lines(b"") == []
    assert lines(b"a\r\n\nb") == ["a\r", "", "b"]


def test_an_answer_of_ollama_keeps_its_line_separators(fake):
    """Go's JSON has them as they are."""
    fake.hold("base")
    last = {"message": {"content": _BREAKS}, "done": True}
    fake.fail("/api/chat", lines=[json.dumps(last, ensure_ascii=False)])
    (piece,) = OllamaClient(fake.url).chat_stream({"model": "base", "messages": []})
    assert piece == last


def test_a_line_without_end_is_an_error_before_it_takes_all_memory():
    with pytest.raises(ServerError, match="has no end"):
        lines(b"x" * (LINE_BYTES + 1))


def test_a_header_that_cannot_be_sent_is_not_shown():
    with pytest.raises((ServerError, UsageError)) as caught:
        Transport("http://127.0.0.1:9", headers={"Authorization": f"Bearer {KEY}\nX: y"}).request("GET", "/")
    assert KEY not in str(caught.value) + caught.value.hint
    with pytest.raises(UsageError) as caught:
        Transport(AT, headers={"Authorization": "Bearer ключ"})
    assert "ключ" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:1", "socks4://127.0.0.1:1", "ftp://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setitem(sys.modules, "socksio", None)  # as where it is not installed
    with pytest.raises(UsageError) as caught:
        Transport(AT)
    assert "ALL_PROXY" in caught.value.where
    assert caught.value.hint == "unset ALL_PROXY, or for a SOCKS proxy: pip install 'httpx[socks]'"
    assert "secret" not in str(caught.value)
    Transport("http://127.0.0.1:1").close()  # our own loopback is reached without any


@pytest.mark.parametrize("address", ["http://[x", "http://[::1", "http://host:x"])
def test_what_is_no_address_is_an_error(address):
    with pytest.raises(ServerError):
        Transport(address).request("GET", "/")


def test_the_command_line_of_the_library_is_left_to_those_who_want_it():
    code = (
        "import sys, ggship.transport; assert not {'rich', 'pygments'} & set(sys.modules), 'imported';"
        "import httpx._main; assert httpx._main.main"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_server_that_stops_taking_an_upload_is_given_up_soon():
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []
        threading.Thread(target=lambda: held.append(server.accept()), daemon=True).start()
        transport = Transport(f"http://127.0.0.1:{server.getsockname()[1]}", read_seconds=600, write_seconds=0.3)
        began = time.monotonic()
        with pytest.raises(ServerError, match="stopped taking"):
            transport.request("POST", "/", content=(b"x" * (1 << 20) for _ in range(64)))
        assert time.monotonic() - began < 10
        held[0][0].close()
