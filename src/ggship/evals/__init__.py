"""Suites, assertions, runner, comparison, gates, reports.

suite = load_suite(Path("suite.yaml"))
report = evaluate(suite, tuned, base, clock=SystemClock())
report.passed, report.verdict.reasons
"""

from ggship.evals.codec import as_document, from_json, read_report, to_json
from ggship.evals.load import load_suite, parse_suite
from ggship.evals.report import Report
from ggship.evals.runner import CaseDone, evaluate
from ggship.evals.smoke import smoke_suite
from ggship.evals.suite import Case, Suite

__all__ = [
    "Case",
    "CaseDone",
    "Report",
    "Suite",
    "as_document",
    "evaluate",
    "from_json",
    "load_suite",
    "parse_suite",
    "read_report",
    "smoke_suite",
    "to_json",
]
