"""bench.json and bench.html: one page that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from ggship.digests import write_bytes
from ggship.evals.bench.codec import to_json
from ggship.evals.bench.drawing import chart
from ggship.evals.bench.report import BenchReport
from ggship.evals.bench.words import figure, row, rows, share
from ggship.evals.odd import escape_odd
from ggship.settings import templates_dir

FILES = ("bench.json", "bench.html")


def write_bench(report: BenchReport, folder: Path) -> tuple[Path, ...]:
    """Write `FILES`, each whole or not at all, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(FILES, (to_json(report), render_bench(report)), strict=True):
        write_bytes(folder / name, text.encode())
    return tuple(folder / name for name in FILES)


def render_bench(report: BenchReport) -> str:
    """The page: the look and the content policy are those of the evaluation's report, and it has no script at all."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = templates_dir() / "report"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(seen=escape_odd, figure=figure, share=share)
    style = "".join((folder / name).read_text(encoding="utf-8") for name in ("report.css", "bench.css"))
    return environment.get_template("bench.html.j2").render(
        report=report,
        style=style,
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        chart=chart(report),
        levels=[row(level) for level in report.levels],
        facts=[pair for pair in rows(report) if pair[0] not in ("gate", "note", "model")],
    )
