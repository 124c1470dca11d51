"""The summary of a job's step, as GitHub Actions shows it: the report as Markdown, whatever the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.cli.terminal import Terminal
from ggship.errors import GateFailed, GgshipError

if TYPE_CHECKING:
    from ggship.evals.report import Report


def tell_step(terminal: Terminal, report: Report, file: Path | None) -> None:
    """Append the report to the file, where there is one. A file that cannot be written changes no verdict."""
    if file is None:
        return
    from ggship.evals.markdown import append_summary

    try:
        append_summary(report, file)
    except OSError as error:
        terminal.warn(f"the summary could not be written: {error}")


@contextmanager
def telling_step(terminal: Terminal, folder: Path, file: Path | None) -> Iterator[None]:
    """Around the making of a package in that folder: its report is told where it passed and where it did not."""
    try:
        yield
    except GateFailed:
        _tell(terminal, folder.with_name(f"{folder.name}.held"), file)
        raise
    _tell(terminal, folder, file)


def _tell(terminal: Terminal, package: Path, file: Path | None) -> None:
    if file is None or not (package / "eval" / "report.json").is_file():
        return
    from ggship.evals.codec import read_report

    try:
        report = read_report(package / "eval" / "report.json")
    except GgshipError as error:
        terminal.warn(f"the summary could not be written: {error}")
        return
    tell_step(terminal, report, file)
