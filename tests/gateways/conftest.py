"""The stand-in as a fixture: a gateway on loopback, with one admin token, one client key, and a canned model."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def stand_in_module() -> ModuleType:
    folder = Path(__file__).with_name("stand_in")
    spec = importlib.util.spec_from_file_location(
        "one_api_stand_in", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its own modules import each other from there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gateway(stand_in_module: ModuleType) -> Iterator[tuple[Any, str]]:
    """(the stand-in, its address). At ollama.test:11434 every model answers whose name does not begin with gone."""

    def model(name: str) -> object:
        if name.startswith("gone"):
            raise stand_in_module.UpstreamFailed("not found", 404)
        return stand_in_module.Said(f"I am {name}.", name)

    running = stand_in_module.StandIn(canned={"http://ollama.test:11434": model})
    running.add_key("PROBEKEY")
    url = running.start()
    yield running, url
    running.stop()


@pytest.fixture
def small_ollama() -> Iterator[Callable[[Mapping[str, str]], Any]]:
    """small_ollama(models): a SmallOllama that holds them (name -> digest)."""
    path = Path(__file__).with_name("small_ollama.py")
    spec = importlib.util.spec_from_file_location("ggship_small_ollama", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    running: list[Any] = []

    def start(models: Mapping[str, str]) -> Any:
        running.append(module.SmallOllama(models))
        return running[-1]

    yield start
    for server in running:
        server.stop()
