from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load_fake() -> Any:
    spec = importlib.util.spec_from_file_location("ggship_fake_ollama", Path(__file__).parent / "fake_ollama.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_fake = _load_fake()


@pytest.fixture
def fake_server() -> Iterator[Callable[[str], Any]]:
    """Starts fake Ollama servers of a version; all are stopped at the end."""
    servers = []

    def start(version: str = "0.32.14") -> Any:
        servers.append(_fake.FakeOllama(version))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def fake(fake_server: Callable[..., Any]) -> Any:
    """A fake Ollama of the era that takes adapters."""
    return fake_server("0.32.14")


@pytest.fixture
def new_fake(fake_server: Callable[..., Any]) -> Any:
    """A fake Ollama of the era that refuses adapters."""
    return fake_server("0.34.4")


class StillClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=[True, False], ids=["with-xllamacpp", "without-xllamacpp"])
def xllamacpp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether xllamacpp can be imported: the test runs with and without it, whatever is installed."""
    module = ModuleType("xllamacpp")
    module.__spec__ = ModuleSpec("xllamacpp", None)
    monkeypatch.setitem(sys.modules, "xllamacpp", module if request.param else None)
    return bool(request.param)


def _gguf(path: Path, kind: str, size: int) -> Path:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(kind)
    writer.add_tensor("blk.0.attn_q.weight", np.arange(size, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def model_gguf(tmp_path: Path) -> Path:
    """A whole GGUF file of type model, 3 MB: more than two blocks of an upload."""
    return _gguf(tmp_path / "m.gguf", "model", 800_000)


@pytest.fixture
def adapter_gguf(tmp_path: Path) -> Path:
    return _gguf(tmp_path / "a.gguf", "adapter", 64)
