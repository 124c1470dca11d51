"""Suites, assertions, runner, comparison, gates, reports.

suite = load_suite(Path("suite.yaml"))
report = evaluate(suite, tuned, base, clock=SystemClock())
report.passed, report.verdict.reasons
write_reports(report, Path("eval"), suite=suite, suite_path=Path("suite.yaml"))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ggship.evals.codec import as_document, from_json, read_report, to_json
    from ggship.evals.load import add_gates, load_suite, parse_suite
    from ggship.evals.markdown import full_markdown
    from ggship.evals.report import Report
    from ggship.evals.runner import CaseDone, evaluate
    from ggship.evals.smoke import smoke_suite
    from ggship.evals.suite import Case, Suite
    from ggship.evals.summary import report_markdown, summary_rows
    from ggship.evals.write import write_reports

# Where each public name lives: it is imported when it is asked for. A packaging run with nothing to do asks for the
# digest of the smoke suite alone, and would wait 0.1 s for the rest.
_HOMES = {
    "Case": "suite",
    "CaseDone": "runner",
    "Report": "report",
    "Suite": "suite",
    "add_gates": "load",
    "as_document": "codec",
    "evaluate": "runner",
    "from_json": "codec",
    "full_markdown": "markdown",
    "load_suite": "load",
    "parse_suite": "load",
    "read_report": "codec",
    "report_markdown": "summary",
    "smoke_suite": "smoke",
    "summary_rows": "summary",
    "to_json": "codec",
    "write_reports": "write",
}

__all__ = [
    "Case",
    "CaseDone",
    "Report",
    "Suite",
    "add_gates",
    "as_document",
    "evaluate",
    "from_json",
    "full_markdown",
    "load_suite",
    "parse_suite",
    "read_report",
    "report_markdown",
    "smoke_suite",
    "summary_rows",
    "to_json",
    "write_reports",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
