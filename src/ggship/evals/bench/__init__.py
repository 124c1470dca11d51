"""Load: what a server gives when several people ask at once, measured before they do.

report = bench(endpoint, questions_of(suite), BenchPlan(concurrency=(1, 2, 4)))
report.levels[0].latency.p95, report.passed
write_bench(report, Path("out"))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ggship.evals.bench.codec import as_document, from_json, to_json
    from ggship.evals.bench.drawing import chart
    from ggship.evals.bench.measure import bench
    from ggship.evals.bench.page import write_bench
    from ggship.evals.bench.plan import BenchPlan
    from ggship.evals.bench.questions import Questions, questions_of
    from ggship.evals.bench.report import BenchReport

_HOMES = {
    "BenchPlan": "plan",
    "BenchReport": "report",
    "Questions": "questions",
    "as_document": "codec",
    "bench": "measure",
    "chart": "drawing",
    "from_json": "codec",
    "questions_of": "questions",
    "to_json": "codec",
    "write_bench": "page",
}

__all__ = [
    "BenchPlan",
    "BenchReport",
    "Questions",
    "as_document",
    "bench",
    "chart",
    "from_json",
    "questions_of",
    "to_json",
    "write_bench",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
