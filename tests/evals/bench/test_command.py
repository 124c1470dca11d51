"""`ggship bench` as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ggship", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "80"},
    )


def bench(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_table_that_fits_a_page_that_is_there_and_a_gate_that_fails(stand_in: Any, tmp_path: Path) -> None:
    stand_in.faults = ["", "", "", "busy"]
    code, out, err = bench(
        f"{stand_in.url}#law",
        *("--concurrency", "1,2", "--duration", "300ms", "--out", str(tmp_path / "out")),
        *("--gate", "c2.p95_latency <= 60", "--gate", "tokens_per_s >= 1000000"),
    )
    assert code == 3
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["1", "2"]
    assert max(len(line) for line in lines[:5]) <= 80
    assert "busy: " in out
    assert "✓ c2.p95_latency <= 60" in out
    assert "✗ tokens_per_s >= 1000000" in out
    assert "did not pass" in err
    assert "tokens_per_s" in err
    document = json.loads((tmp_path / "out" / "bench.json").read_text("utf-8"))
    assert [level["concurrency"] for level in document["levels"]] == [1, 2]
    assert (tmp_path / "out" / "bench.html").is_file()


def test_ctrl_c_gives_what_was_measured_so_far(stand_in: Any) -> None:
    process = start(f"{stand_in.url}#law", "--concurrency", "1,2", "--duration", "60s", "--json")
    try:
        while len(stand_in.served) < 20:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    document = json.loads(out)
    assert document["stopped"] == "interrupted"
    assert document["levels"][0]["answers"] >= 10
    assert document["levels"][0]["seconds"] < 30
    assert "2 at once" in document["notes"][0]
    assert "Traceback" not in err


def test_a_model_that_never_answers_is_an_error(stand_in: Any) -> None:
    stand_in.always = "broken"
    code, out, err = bench(f"{stand_in.url}#law", "--concurrency", "2", "--duration", "1s")
    assert code == 1
    assert "gave no answer" in err
    assert "exit status 1" in err
    assert "100 %" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no Ollama answers at http://127.0.0.1:9"),
        (["http://127.0.0.1:9#law"], "nothing answers"),
        (["http://127.0.0.1:9#law", "--concurrency", "0"], "so many cannot be asked"),
        (["http://127.0.0.1:9#law", "--duration", "soon"], "not a duration for --duration"),
        (["http://127.0.0.1:9#law", "--suite", "gone.yaml"], "gone.yaml"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments: list[str], words: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    code, out, err = bench(*arguments)
    assert code in (1, 2)
    assert words in err
    assert "Traceback" not in err
    assert out == ""
