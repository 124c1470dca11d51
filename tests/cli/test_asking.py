"""What one sees while a model is asked, and what Ctrl-C leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ggship.cli.asking import AskingView
from ggship.cli.terminal import Steps, Terminal
from ggship.evals.runner import CaseDone


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Recorded(Steps):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, title: str, total: float | None = None, unit: str = "") -> None:
        self.told.append((title, total))

    def skip(self, amount: float = 1) -> None:
        self.told.append("skip")

    def tally(self, text: str) -> None:
        self.told.append(text)

    def done(self, outcome: str = "") -> None:
        self.told.append(f"= {outcome}")


def test_each_model_has_its_row_with_what_came_of_it_so_far() -> None:
    steps = Recorded()
    view = AskingView(Terminal(), steps, {"base": "SmolLM2", "tuned": "law"}, 2, Hands())  # type: ignore[arg-type]
    view.hear(CaseDone("base", "a", 1, 4, "fail", asked=False))
    view.hear(CaseDone("base", "b", 2, 4, "error"))
    view.hear(CaseDone("tuned", "a", 3, 4, "pass"))
    view.end("done")
    assert steps.told == [
        ("Asking SmolLM2", 2),
        "skip",
        "1✗",
        "1✗ 1!",
        "= 1 failed, 1 without a judged answer",
        ("Asking law", 2),
        "1✓",
        "= done",
    ]


def test_a_log_gets_a_line_now_and_then_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Hands()
    view = AskingView(Terminal(), Steps(), {"tuned": "law"}, 1000, clock)  # type: ignore[arg-type]
    for number in range(100):
        clock.seconds += 1
        view.hear(CaseDone("tuned", str(number), number, 1000, "fail" if number % 10 == 0 else "pass"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "  31 of 1000, 27 passed, 4 failed, 1 a second, 16 min left"


class Slow(BaseHTTPRequestHandler):
    """An OpenAI-like server that gives its first three answers, and takes its time with the next."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.count += 1  # type: ignore[attr-defined]
        if self.server.count > 4:  # type: ignore[attr-defined]
            time.sleep(30)
        body = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_ctrl_c_ends_at_once_and_says_that_nothing_is_lost(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    server.count = 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "s.yaml").write_text("version: 1\ntests:\n" + "".join(f"- {{prompt: q{n}}}\n" for n in range(9)))
    model = f"http://127.0.0.1:{server.server_port}/v1#m"
    command = [sys.executable, "-m", "ggship", "eval", model, "--suite", str(tmp_path / "s.yaml"), "--concurrency", "1"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    answers = Path(os.environ["GGSHIP_CACHE_DIR"]) / "answers"
    for _ in range(200):
        if sum(len(file.read_text().splitlines()) for file in answers.glob("*/*")) >= 4:
            break
        time.sleep(0.1)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert time.monotonic() - began < 10, "it does not wait for the model"
    assert child.returncode != 0
    assert "What was answered is kept: the same command asks only the rest." in err
    server.shutdown()
    server.server_close()
