"""A real LiteLLM proxy, by its file: what ggship writes is what it reads, routes by weight, limits and blocks.

GGSHIP_TEST_LITELLM names a `litellm` executable (pip install 'litellm[proxy]==1.106.2', in an environment of its own:
it is never a dependency of ggship); scripts/test makes one. Without it there is nothing here to run.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import ServerError
from ggship.gateways import Route, Secret, apply, fall_back, off
from ggship.gateways.canary import start_canary
from ggship.gateways.ladder import Ladder
from ggship.gateways.litellm import LiteLlmFile
from ggship.gateways.opening import detect
from ggship.transport import Transport

LITELLM = os.environ.get("GGSHIP_TEST_LITELLM") or shutil.which("litellm")
KEY = "sk-live-master"
CONFIG = """include: [ggship.yaml]
model_list: []
router_settings:
  num_retries: 0
  optional_pre_call_checks: ["enforce_model_rate_limits"]
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
"""


@contextmanager
def proxy(folder: Path) -> Iterator[str]:
    """LiteLLM on loopback with that folder's config.yaml; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [str(LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                if Transport(url).request("GET", "/health/liveliness").ok:
                    break
            except ServerError:
                assert running.poll() is None, (folder / "log").read_text()
                time.sleep(0.5)
        yield url
    finally:
        running.terminate()
        running.wait(30)


@pytest.fixture
def small() -> Iterator[Any]:
    path = Path(__file__).parent.parent / "gateways" / "small_ollama.py"
    spec = importlib.util.spec_from_file_location("small_ollama_live", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    running = module.SmallOllama({"law:v1": "1" * 64, "law:v2": "2" * 64, "law:few": "3" * 64, "base:1b": "b" * 64})
    yield running
    running.stop()


if LITELLM:

    def test_what_is_written_is_routed_weighed_limited_and_blocked(small: Any, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text(CONFIG)
        file = tmp_path / "ggship.yaml"

        def gateway(url: str) -> LiteLlmFile:
            return LiteLlmFile(Transport(url), file, Secret(KEY))

        nobody = gateway("http://127.0.0.1:9")
        live, next_one = (Route("law", "law", f"law:{version}", small.url) for version in ("v1", "v2"))
        apply(nobody, live)
        with proxy(tmp_path) as url:
            assert detect(url) == "litellm"
            said = apply(gateway(url), live).said
            assert said
            assert said.deployment == "ggship:law"
            climbed = Ladder(gateway(url), "law", "law:v1").climb()
            assert climbed.broke is None
            assert climbed.rungs[-1].found == "I am law:v1."
            few = Route("few", "few", "law:few", small.url, rpm=2)
            apply(gateway(url), few)
            start_canary(gateway(url), next_one, 20)
        with proxy(tmp_path) as url:
            counted = start_canary(gateway(url), next_one, 20, count=150).counted
            assert counted
            assert counted.fits(0.2), counted
            statuses = [gateway(url).ask("few").status for _ in range(4)]
            assert statuses == [200, 200, 429, 429]
            off(gateway(url), "law")
            fall_back(gateway(url), "few", "base:1b")
        with proxy(tmp_path) as url:
            gone = off(gateway(url), "law")
            assert gone.probe.startswith("HTTP 403")
            assert "blocked" in gone.probe
            assert gateway(url).ask("few").text == "I am base:1b."
