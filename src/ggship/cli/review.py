"""`ggship review`: people read the answers of both models without knowing whose they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import gate_option, host_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.evals.report import Gate, Report
    from ggship.evals.review.chat import Chat, Models
    from ggship.evals.review.store import Reviews
    from ggship.package import PackageInfo


@click.command()
@click.argument("subject", metavar="NAME|PACKAGE|REPORT_FOLDER")
@click.option("--reviewer", metavar="WHO", help="Who reads.  [your user name]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The page's port.  [any free one]")
@click.option("--no-open", is_flag=True, help="Print the page's address, and open no browser.")
@click.option("--status", is_flag=True, help="Show what was found so far, and open no page (so does --gate).")
@gate_option
@click.option(
    "--export", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write what was found there."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["dpo", "llama-factory", "csv"]),
    help="Of the export: pairs for TRL or LLaMA-Factory, or a table.  [by the file's name, else dpo]",
)
@host_option
@json_option
@click.pass_obj
def review(
    terminal: Terminal,
    /,
    subject: str,
    reviewer: str | None,
    port: int,
    no_open: bool,
    status: bool,
    gates: tuple[str, ...],
    export: Path | None,
    form: str | None,
    host: str | None,
) -> None:
    """Read the answers of SUBJECT's last evaluation beside those of its base, blind, on a local page.

    Nothing is asked of any model: the answers are those of the report. What you say is kept at once, outside of the
    package; the gates human.accept, human.prefer_tuned and so on count it wherever the same answers come again.
    """
    from ggship.errors import UsageError
    from ggship.evals.gates import parse_gate
    from ggship.evals.review.store import Reviews

    if form and not export:
        raise UsageError("--format is for --export", hint="add --export FILE")
    found = find(subject)
    rules = [parse_gate(rule) for rule in gates]
    reviews = Reviews(found.report.tuned.label)
    if export:
        written = write_export(found.report, reviews, export, form)
        terminal.note(written)
    if not (status or gates or export):
        serve(terminal, found, reviews, reviewer, port=port, browser=not no_open, host=host)
    show(terminal, found, reviews, rules, told=not export or status or bool(gates))


@dataclass(frozen=True, slots=True)
class Found:
    """What is reviewed: the report, where it lies, and the package that it is of, where there is one."""

    report: Report
    path: Path
    package: PackageInfo | None


def find(subject: str) -> Found:
    """The report that SUBJECT means: that of a package, or one that `ggship eval --out` wrote."""
    from ggship.errors import UsageError
    from ggship.evals.codec import read_report
    from ggship.evals.humans import items_of
    from ggship.releases import load_package

    path, package = Path(subject), None
    if path.is_dir() and (path / "report.json").is_file():
        path = path / "report.json"
    elif not (path.is_file() and path.suffix == ".json"):
        package = load_package(subject)
        path = package.path / "eval" / "report.json"
        if not path.is_file():
            raise UsageError(
                f"{package.name} was never asked anything, so there are no answers to read",
                where=f"{path} is missing",
                hint=f"ggship eval {subject} --suite FILE --out answers, then ggship review answers",
            )
    report = read_report(path)
    if not items_of(report.cases):
        raise UsageError("this evaluation has no answer to read", where=str(path), hint=f"ggship eval {subject}")
    return Found(report, path, package)


def serve(
    terminal: Terminal,
    found: Found,
    reviews: Reviews,
    reviewer: str | None,
    *,
    port: int,
    browser: bool,
    host: str | None,
) -> None:
    """Open the page and wait until the user has had enough."""
    from ggship.clock import SystemClock
    from ggship.errors import GgshipError
    from ggship.evals.review.server import ReviewServer
    from ggship.evals.review.session import Session
    from ggship.evals.review.store import check_reviewer

    clock = SystemClock()
    name = check_reviewer(reviewer or _user())
    session = Session(found.report, reviews, name, clock)
    try:
        server = ReviewServer(session, _chat(found, host), port=port)
    except OSError as error:
        raise GgshipError(
            f"the page cannot be served: {(error.strerror or str(error)).lower()}",
            where=f"127.0.0.1:{port}",
            hint="another port with --port, or leave --port out",
        ) from error
    try:
        terminal.log.print(
            f"Reading as {name}, {len(session.items)} cases. Ctrl-C ends it; nothing is lost.", markup=False
        )
        terminal.log.print(f"→ {server.url}", markup=False, soft_wrap=True)
        if browser and _has_display():
            _open_browser(server.opening_url())
        server.serve()
    except KeyboardInterrupt:
        terminal.log.print()
    finally:
        server.close()


def write_export(report: Report, reviews: Reviews, file: Path, form: str | None) -> str:
    """Write the file; what it holds, in words."""
    import json

    from ggship.digests import write_bytes, write_text
    from ggship.errors import UsageError
    from ggship.evals.humans import items_of
    from ggship.evals.review.export import dataset_info, render

    kind = form or {".csv": "csv", ".json": "llama-factory"}.get(file.suffix, "dpo")
    made = render(kind, items_of(report.cases), reviews.judgements())
    if not made.count:
        nothing = "no answer was preferred or edited" if kind != "csv" else "nobody has read them yet"
        raise UsageError(
            "nothing that people said of these answers can be exported",
            where=f"LLaMA-Factory would skip the turns of all {made.left_out} pairs" if made.left_out else nothing,
            hint="read them first: ggship review NAME",
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, made.text.encode("utf-8-sig" if kind == "csv" else "utf-8"))
    if kind == "csv":
        return f"{file}: {made.count} judgements"
    if kind == "llama-factory":
        info = file.with_name(f"{file.stem}.dataset_info.json")
        write_text(info, json.dumps(dataset_info(file), indent=2) + "\n")
        lost = f"; {made.left_out} left out, whose turns LLaMA-Factory would skip" if made.left_out else ""
        return f"{file}: {made.count} pairs{lost}; {info.name} is its entry for dataset_info.json"
    return f"{file}: {made.count} pairs"


def show(terminal: Terminal, found: Found, reviews: Reviews, rules: Any, *, told: bool) -> None:
    """Figures and gates; GateFailed where a gate does not hold."""
    from ggship.errors import GateFailed
    from ggship.evals.gates import check_base, judge_gates, verdict
    from ggship.evals.review.view import gate_rows, human_rows

    check_base(rules, found.report.base is not None)
    humans = reviews.humans(found.report.cases)
    gates = judge_gates(rules, replace(found.report, humans=humans))
    said = verdict(gates, (), (), 0)
    if terminal.as_json:
        terminal.document(_document(found, reviews, gates, said.passed, humans))
    elif told:
        terminal.lines([*human_rows(humans, found.report.rival_name), *gate_rows(gates)])
        if damaged := reviews.damaged():
            terminal.warn(f"{damaged} lines of {reviews.folder} cannot be read and do not count")
    if not said.passed:
        raise GateFailed(f"{found.report.tuned.label} did not pass", where="\n".join(said.reasons))


def _document(found: Found, reviews: Reviews, gates: tuple[Gate, ...], passed: bool, humans: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": found.report.tuned.label,
        "report": str(found.path),
        "reviews": str(reviews.folder),
        "humans": asdict(humans),
        "gates": [asdict(gate) for gate in gates],
        "passed": passed,
    }


def _chat(found: Found, host: str | None) -> Chat:
    from ggship.clock import SystemClock
    from ggship.evals.review.chat import Chat

    if found.package is None:
        return Chat(None, SystemClock(), missing="There is no package here, so no live model to talk with.")
    if found.package.runtime == "none":
        return Chat(None, SystemClock(), missing="The package was made without a server, so no model is live.")
    package = found.package
    return Chat(lambda: _models(package, host), SystemClock())


@contextmanager
def _models(package: PackageInfo, host: str | None) -> Iterator[Models]:
    from ggship.errors import Busy
    from ggship.evals.review.chat import Models
    from ggship.releases.opened import open_package

    def busy(who: str) -> None:
        raise Busy(who, hint="ask again when it has ended")

    with open_package(package, host=host, on_wait=busy) as opened:
        yield Models(opened.tuned, opened.base, opened.base_missing)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "reviewer"


def _has_display() -> bool:
    """Whether a browser would show itself: one in the terminal would take it over."""
    if sys.platform in ("darwin", "win32"):
        return not os.environ.get("SSH_CONNECTION")
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open_browser(url: str) -> None:
    import threading
    import webbrowser

    # Some browsers hold their caller; the page is served meanwhile.
    threading.Thread(target=lambda: webbrowser.open(url), daemon=True).start()
