"""Writing what was measured into the package's own report, so that its checksums and its ledger hold again."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ggship.digests import sha256_file
from ggship.evals.codec import read_report
from ggship.evals.gates import verdict
from ggship.evals.load import load_suite
from ggship.evals.reference import Reference
from ggship.evals.report import Report
from ggship.evals.write import write_reports
from ggship.package import EVAL_FILES, SUMS, PackageInfo, rewrite_files, verify_files
from ggship.pipeline import enter_again
from ggship.place import Place, holding
from ggship.runs import training_curve
from ggship.runs.model import Run

REPORT = "eval/report.json"


def record(info: PackageInfo, run: Run, found: Reference) -> Report | None:
    """The package's report with what was measured, written in its place; None where the package has no report.

    What was measured before is replaced. ggship.json stays as it is: it tells how the package was made. Raises Damaged
    where the package is no longer what was made.
    """
    if info.file(REPORT) is None:
        return None
    place = _place(info.path)
    with holding(place) if place.root.is_dir() else nullcontext():
        verify_files(info)
        before = {name: sha256_file(info.path / name) for name in (*EVAL_FILES, SUMS) if info.file(name)}
        report = with_reference(read_report(info.path / REPORT), found)
        suite = info.path / "eval" / "suite.yaml"
        curve, asked = training_curve(run), load_suite(suite)
        rewrite_files(
            info.path, lambda out: write_reports(report, out / "eval", suite=asked, suite_path=suite, curve=curve)
        )
        enter_again(place, info.path, before)
    return report


def with_reference(report: Report, found: Reference) -> Report:
    """The report with what was measured, and the verdict that follows."""
    judged = verdict(report.gates, report.timing.gates, report.smoke, report.errors, found)
    return replace(report, reference=found, verdict=judged)


def _place(folder: Path) -> Place:
    """Where the package was made: one that was held lies beside its place."""
    return Place(folder.with_name(folder.name.removesuffix(".held")))
