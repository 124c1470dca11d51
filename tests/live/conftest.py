"""The real servers that live tests talk to; `scripts/live-servers start` starts them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HOW = "run `scripts/live-servers start --registry`, then `export $(scripts/live-servers env)`"


def _env(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        # A failure and not a skip: a live run that tests nothing must not look green.
        pytest.fail(f"{name} is not set: {HOW}", pytrace=False)
    return value


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Live tests are collected only where they are asked for: `pytest -m live`."""
    return None if "live" in config.option.markexpr else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything in this folder is live, whether its author remembered the mark or not.

    GGSHIP_LIVE_WITHOUT=registry leaves out what needs a registry, where scripts/test has said so aloud.
    """
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.live)
    if os.environ.get("GGSHIP_LIVE_WITHOUT") == "registry":
        gone = [item for item in items if "registry" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture(scope="session")
def old_ollama() -> str:
    """Address of a real Ollama 0.32.14, which takes adapters."""
    return _env("GGSHIP_LIVE_OLLAMA_OLD")


@pytest.fixture(scope="session")
def new_ollama() -> str:
    """Address of a real Ollama 0.34.4, which refuses adapters."""
    return _env("GGSHIP_LIVE_OLLAMA_NEW")


@pytest.fixture(scope="session", params=["GGSHIP_LIVE_OLLAMA_OLD", "GGSHIP_LIVE_OLLAMA_NEW"], ids=["old", "new"])
def each_ollama(request: pytest.FixtureRequest) -> str:
    """Address of a real Ollama: the test runs once on each era."""
    return _env(request.param)


@pytest.fixture(scope="session")
def base_gguf() -> Path:
    """The real base, SmolLM2-135M-Instruct Q4_1; both servers hold it as smollm2:135m."""
    return Path(_env("GGSHIP_LIVE_BASE_GGUF"))


@pytest.fixture(scope="session")
def llama_cpp_dir() -> Path:
    """The folder of llama.cpp's own programs (llama-quantize, llama-export-lora, ...)."""
    return Path(_env("GGSHIP_LIVE_LLAMA_CPP"))


@pytest.fixture(scope="session")
def registry() -> str:
    """host:port of a real docker-registry on loopback."""
    return _env("GGSHIP_LIVE_REGISTRY")
