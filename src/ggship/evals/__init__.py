"""Suites, assertions, runner, comparison, gates, reports.

suite = load_suite(Path("suite.yaml"))
report = evaluate(suite, tuned, base, clock=SystemClock())
report.passed, report.verdict.reasons
write_reports(report, Path("eval"), suite=suite, suite_path=Path("suite.yaml"))
"""

from ggship.evals.codec import as_document, from_json, read_report, to_json
from ggship.evals.load import add_gates, load_suite, parse_suite
from ggship.evals.report import Report
from ggship.evals.runner import CaseDone, evaluate
from ggship.evals.smoke import smoke_suite
from ggship.evals.suite import Case, Suite
from ggship.evals.summary import report_markdown, summary_rows
from ggship.evals.write import write_reports

__all__ = [
    "Case",
    "CaseDone",
    "Report",
    "Suite",
    "add_gates",
    "as_document",
    "evaluate",
    "from_json",
    "load_suite",
    "parse_suite",
    "read_report",
    "report_markdown",
    "smoke_suite",
    "summary_rows",
    "to_json",
    "write_reports",
]
