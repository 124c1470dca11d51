"""Session fixtures of the matrix: llama.cpp, a warm Python, and each tiny base, made and converted once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .models import ARCHITECTURES, VOCABULARY, Architecture, build, save
from .processes import LlamaCpp, WarmRunner
from .prompts import PROMPTS, reference

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fidelity-results", type=Path, help="write what the cells measured to this JSON file")


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--fidelity-results", None)
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(file))


class Recorder:
    """Collects what tests record of what they measured, from every worker, and writes it at the end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: dict[str, list[Any]] = {"noise": [], "upstream": [], "cell": []}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, value in report.user_properties:
                self._found[name].append(value)

    def pytest_sessionfinish(self) -> None:
        for found in self._found.values():
            found.sort(key=lambda item: json.dumps(item, sort_keys=True))
        self._file.write_text(json.dumps(self._found, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class TinyBase:
    """A base in both worlds: `folder` of transformers, `gguf` of the vendored converter, 32-bit floats.

    expected: log-probabilities of the bare model in transformers, float64 [prompts, vocabulary].
    """

    architecture: Architecture
    folder: Path
    gguf: Path
    expected: np.ndarray

    def model(self) -> Any:
        """The model anew, with the same weights."""
        return build(self.architecture)


@pytest.fixture(scope="session")
def llama_cpp() -> Iterator[LlamaCpp]:
    process = LlamaCpp()
    yield process
    process.close()


@pytest.fixture(scope="session")
def warm_runner() -> Iterator[WarmRunner]:
    from ggship.convert.vendored import vendored_llama_cpp

    runner = WarmRunner(vendored_llama_cpp())
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, warm_runner: WarmRunner) -> Callable[[str], TinyBase]:
    """tiny_base(name): the base of that architecture."""
    from ggship.convert.vendored import vendored_llama_cpp

    made: dict[str, TinyBase] = {}
    root = tmp_path_factory.mktemp("bases")

    def make(name: str) -> TinyBase:
        if name not in made:
            arch, folder = ARCHITECTURES[name], root / name
            save(arch, folder)
            gguf = root / f"{name}.gguf"
            script = vendored_llama_cpp() / "convert_hf_to_gguf.py"
            done = warm_runner(
                [sys.executable, str(script), "--outtype", "f32", "--outfile", str(gguf), str(folder)], timeout=120
            )
            assert done.returncode == 0, done.tail(40)
            made[name] = TinyBase(arch, folder, gguf, reference(build(arch)))
        return made[name]

    return make


@pytest.fixture
def distribution(llama_cpp: LlamaCpp) -> Callable[..., np.ndarray]:
    """distribution(model, adapter=None): what llama.cpp makes of it, float64 [prompts, vocabulary]."""

    def ask(model: Path, adapter: Path | None = None) -> np.ndarray:
        return llama_cpp.ask(model, PROMPTS, VOCABULARY, adapter)

    return ask
