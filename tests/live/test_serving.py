"""The files for llama-server, run with the real one, answer as the package did."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "law-helper"
SUITE = """\
version: 1
gates: [pass_rate >= 1]
defaults: {options: {num_predict: 48}}
tests:
  - prompt: How long does copyright last?
    assert: [{type: icontains, value: 70 years}]
"""


@pytest.fixture
def programs() -> str:
    found = os.environ.get("GGSHIP_LIVE_LLAMA_CPP", "")
    assert (Path(found) / "llama-server").exists(), "GGSHIP_LIVE_LLAMA_CPP is not set: see scripts/live-servers env"
    return found


def test_what_llama_server_serves_passes_the_suite_of_the_package(tmp_path, base_gguf, programs):
    def ggship(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "GGSHIP_STATE_DIR": str(tmp_path / "state")}
        command = [sys.executable, "-m", "ggship", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    (tmp_path / "suite.yaml").write_text(SUITE)
    made = ggship(
        *("package", EXAMPLE / "lora-out", "--name", "law", "--base", base_gguf, "--strategy", "merge"),
        *("--runtime", "embedded", "--suite", "suite.yaml"),
    )
    assert made.returncode == 0, made.stderr
    assert ggship("export", "law", "--for", "llama-server", "-o", "serve").returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PORT": str(port)}
    environment["LD_LIBRARY_PATH"] = programs
    server = subprocess.Popen(["sh", str(tmp_path / "serve" / "serve.sh")], env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/health", server)
        asked = ggship("eval", f"http://127.0.0.1:{port}/v1#law", "--suite", "serve/suite.yaml")
        assert asked.returncode == 0, asked.stdout + asked.stderr
        assert "verdict  passed" in asked.stdout
    finally:
        server.terminate()
        server.wait(20)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "llama-server ended"
        try:
            with urlopen(url, timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    pytest.fail("llama-server does not answer")
