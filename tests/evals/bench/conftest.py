from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ggship.evals.bench import BenchPlan, BenchReport, bench, questions_of
from ggship.evals.bench.report import Asked, Failure, Level, Spread
from ggship.runtimes.endpoints import parse_endpoint

from .stand_in import StandIn


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


@pytest.fixture
def measure(stand_in: StandIn) -> Callable[..., BenchReport]:
    """Measure the stand-in, by its own API or at `path`."""

    def run(*concurrency: int, path: str = "", gates: tuple[str, ...] = (), **bounds: Any) -> BenchReport:
        plan = BenchPlan(**{"concurrency": concurrency, "duration": 0.4, "timeout": 5.0, **bounds})
        return bench(parse_endpoint(f"{stand_in.url}{path}#law"), questions_of(None), plan, gates=gates)

    return run


@pytest.fixture
def report() -> BenchReport:
    """Two levels, of round figures."""
    one = Spread(0.1, 0.1, 0.2, 0.2, 0.2, 0.2)
    two = Spread(0.3, 0.3, 0.4, 0.4, 0.4, 0.4)
    busy = Failure("busy", 10, "server busy")
    return BenchReport(
        model="law",
        digest="ab" * 32,
        ggship_version="0.1.0",
        started="2026-01-01T00:00:00+00:00",
        seconds=3.0,
        load_seconds=0.5,
        asked=Asked("", "", 8, True, None, (1, 2), 1.0, 100, 5.0, 60.0),
        levels=(
            Level(1, 1.0, 90, 10.0, 100.0, 120.0, one, one, None, 0, 0.0, (), 0, None, "server", 0),
            Level(2, 1.0, 90, 5.0, 50.0, 60.0, two, one, None, 10, 0.1, (busy,), 0, 0.5, "server", 0),
        ),
        stopped="",
        notes=("a note",),
    )
