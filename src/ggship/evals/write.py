"""Writing the reports of an evaluation into a folder, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ggship.digests import write_bytes
from ggship.errors import UsageError
from ggship.evals.codec import to_json
from ggship.evals.curve import Point
from ggship.evals.dump import render_suite
from ggship.evals.html import render_html
from ggship.evals.junit import to_junit
from ggship.evals.load import parse_suite
from ggship.evals.markdown import full_markdown
from ggship.evals.report import Report
from ggship.evals.suite import Suite

MARKDOWN = "report.md"  # no part of a package, whose README.md says the same
FILES = ("suite.yaml", "report.json", "report.html", "junit.xml")


def write_reports(
    report: Report,
    folder: Path,
    *,
    suite: Suite,
    suite_path: Path | None = None,
    curve: Sequence[Point] = (),
    provenance: Sequence[tuple[str, str]] = (),
    timings: bool = False,
    markdown: bool = False,
) -> tuple[Path, ...]:
    """Write `FILES`, and report.md where `markdown` asks for it, and give their paths.

    suite_path: the file the suite was read from, to be copied byte for byte.

    Law: load_suite(folder / "suite.yaml").digest == suite.digest, whatever became of that file.
    Without `timings` the same answers give the same bytes everywhere but in the section `timing` of report.json.
    """
    texts = {
        "suite.yaml": _source(suite, suite_path),
        "report.json": to_json(report).encode(),
        "report.html": render_html(report, curve=curve, provenance=provenance, timings=timings).encode(),
        "junit.xml": to_junit(report, timings=timings).encode(),
    }
    if markdown:
        texts[MARKDOWN] = full_markdown(report).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        write_bytes(folder / name, content)
    return tuple(folder / name for name in texts)


def _source(suite: Suite, path: Path | None) -> bytes:
    """The file that the suite was read from, or the suite itself where the file is not, or no longer, what was asked.

    It may have been edited since, and gates given on the command line are in no file.
    """
    if path is not None:
        try:
            content = path.read_bytes()
            if parse_suite(content.decode("utf-8-sig"), path.stem).digest == suite.digest:
                return content
        except (OSError, UnicodeDecodeError, UsageError):
            pass
    return render_suite(suite).encode()
