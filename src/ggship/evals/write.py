"""Writing the reports of an evaluation into a folder, each file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ggship.evals.codec import to_json
from ggship.evals.curve import Point
from ggship.evals.dump import render_suite
from ggship.evals.html import render_html
from ggship.evals.junit import to_junit
from ggship.evals.report import Report
from ggship.evals.suite import Suite

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
) -> tuple[Path, ...]:
    """Write `FILES` and give their paths. suite_path: the file the suite was read from, copied byte for byte.

    Without `timings` the same answers give the same bytes everywhere but in the section `timing` of report.json.
    """
    source = suite_path.read_bytes() if suite_path is not None else render_suite(suite).encode()
    texts = {
        "suite.yaml": source,
        "report.json": to_json(report).encode(),
        "report.html": render_html(report, curve=curve, provenance=provenance, timings=timings).encode(),
        "junit.xml": to_junit(report, timings=timings).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        _write(folder / name, content)
    return tuple(folder / name for name in FILES)


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
