"""ggship modelfile: hold a Modelfile against Ollama's own grammar; the Modelfile of a live model."""

from __future__ import annotations

from pathlib import Path

import click

from ggship.cli.options import host_option, json_option
from ggship.cli.terminal import Terminal

BAD = 4
"""Exit code where using the file would give a wrong result."""


@click.group()
def modelfile() -> None:
    """Check a Modelfile, or show that of a live model.

    \b
    ggship modelfile lint Modelfile
    ggship modelfile show law-helper
    """


@modelfile.command(
    epilog="\b\nExamples:\n  ggship modelfile lint dist/law-helper/Modelfile\n"
    "  ollama show --modelfile llama3.2 | ggship modelfile lint -\n"
    "  ggship modelfile lint Modelfile --json | jq -r '.problems[].code'"
)
@click.argument("file", metavar="FILE")
@click.option("--strict", is_flag=True, help="Exit code 4 at warnings too.")
@json_option
@click.pass_obj
def lint(terminal: Terminal, file: str, strict: bool) -> int:
    """What Ollama would refuse, drop or misread in FILE (- reads standard input).

    Every problem has a code, which docs/modelfile.md explains with an example. Exit code 4 where there is an error.
    """
    from ggship.modelfile.lint import lint_bytes

    data, folder = _read(file)
    problems = lint_bytes(data, folder=folder)
    count = {level: sum(found.level == level for found in problems) for level in ("error", "warning", "note")}
    if terminal.as_json:
        terminal.document({"file": file, **count, "problems": [found.document() for found in problems]})
    else:
        for found in problems:
            terminal.say(f"{file}:{found}")
            terminal.say(f"    {found.consequence} {found.fix}", style="dim")
        terminal.say(", ".join(_counted(number, level) for level, number in count.items() if number) or "nothing found")
    return BAD if count["error"] or (strict and count["warning"]) else 0


@modelfile.command(
    epilog="\b\nExamples:\n  ggship modelfile show law-helper > Modelfile\n"
    "  ggship modelfile show law-helper --json | jq .parameters"
)
@click.argument("name")
@host_option
@json_option
@click.pass_obj
def show(terminal: Terminal, name: str, host: str | None) -> None:
    """The Modelfile of the model NAME, as the server holds it.

    FROM and ADAPTER name the server's own files. What a Modelfile cannot say stands in --json whole, and is named on
    stderr.
    """
    import os

    from ggship.modelfile import not_carried, render
    from ggship.runtimes.live_modelfile import live_modelfile
    from ggship.runtimes.ollama_api import OllamaClient

    client = OllamaClient(host or os.environ.get("OLLAMA_HOST", ""))
    try:
        value = live_modelfile(client.show(name))
        digest = client.digest(name)
    finally:
        client.close()
    lost = not_carried(value)
    if terminal.as_json:
        document = {"name": name, "server": client.url, "digest": digest, **value.document()}
        terminal.document({**document, "not_in_modelfile": list(lost), "modelfile": render(value)})
        return
    for text in lost:
        terminal.warn(f"{text}; --json has it whole")
    terminal.raw(render(value))


def _read(file: str) -> tuple[bytes, Path | None]:
    """The bytes of the file, and the folder that its paths are relative to."""
    import sys

    from ggship.errors import UsageError
    from ggship.modelfile.lint import LARGEST

    if file == "-":
        return sys.stdin.buffer.read(LARGEST + 1), None
    path = Path(file)
    if path.is_dir():
        raise UsageError("that is a folder", where=file, hint=f"ggship modelfile lint {path / 'Modelfile'}")
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST + 1), path.parent
    except OSError as error:
        raise UsageError("the Modelfile cannot be read", where=f"{file}: {error.strerror}") from error


def _counted(number: int, level: str) -> str:
    return f"{number} {level}" + ("s" if number != 1 else "")
