"""`ggship init`: write ggship.yaml for a run, by asking or by flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ggship.cli.options import Rules, allow_pickle_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.runs import Run


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--name", help="The name people will use.")
@click.option("--base", metavar="REF", help="The base; otherwise ggship finds it each time.")
@click.option("--suite", type=click.Path(path_type=Path), help="Questions that must be passed.")
@click.option("--gate", "gates", multiple=True, type=Rules(), metavar="EXPR", help="A rule that must hold; several.")
@click.option("--host", metavar="URL", help="The Ollama server.")
@click.option("--publish", multiple=True, metavar="PLACE", help="Where to publish it, as `publish --to`; several.")
@click.option("--gateway", multiple=True, metavar="NAME", help="A gateway that was added; several.")
@click.option("--out", type=click.Path(path_type=Path), default="ggship.yaml", show_default=True, help="The file.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--schema", is_flag=True, help="Only print the JSON Schema of ggship.yaml, for editors.")
@allow_pickle_option
@json_option
@click.pass_obj
def init(
    terminal: Terminal,
    run: Path | None,
    name: str | None,
    base: str | None,
    suite: Path | None,
    gates: tuple[str, ...],
    host: str | None,
    publish: tuple[str, ...],
    gateway: tuple[str, ...],
    out: Path,
    force: bool,
    schema: bool,
    allow_pickle: bool,
) -> None:
    """Write ggship.yaml for RUN: what `ggship ship` will do. On a terminal it asks for what no flag says.

    \b
    ggship init ./lora-out --name law-helper --suite suite.yaml
    """
    from ggship.digests import write_text
    from ggship.errors import UsageError
    from ggship.project import parse_project, project_schema, render_project
    from ggship.runs import read_run

    if schema:
        terminal.document(project_schema())
        return
    if run is None:
        raise UsageError("which run?", hint="ggship init ./lora-out")
    if out.exists() and not force:
        raise UsageError(f"{out} is there already", where=str(out), hint="--force writes over it")
    read = read_run(run, allow_pickle=allow_pickle)
    name = name or _asked(terminal, "Name", _name_of(read), f"{run}: {read.chosen}")
    suite = suite or _found_suite(run)
    if suite is None and (said := _asked(terminal, "Suite (a file; empty for none)", "", "Questions it must pass.")):
        suite = Path(said)
    if not publish:
        publish = tuple(filter(None, [_asked(terminal, "Publish to (empty for nowhere)", "", "")]))
    if not gateway:
        gateway = tuple(filter(None, [_asked(terminal, "Gateway (empty for none)", "", "")]))
    home = out.resolve().parent
    text = render_project(
        run=_from(home, run),
        name=name,
        base=_base(home, base) if base else "",
        suite=_from(home, suite) if suite else "",
        gates=gates,
        host=host or "",
        publish=publish,
        gateways=gateway,
    )
    project = parse_project(text, out)
    write_text(out, text)
    if terminal.as_json:
        terminal.document({"file": str(out), "name": project.name, "steps": [list(s.command) for s in project.steps()]})
        return
    terminal.lines([("wrote", str(out)), ("run", f"{run} ({read.chosen})"), ("name", name)])
    if suite is None:
        terminal.note("Without a suite only the smoke test is held: ggship suite from DATA --out suite.yaml")
    terminal.say("\n→ ggship plan\n→ ggship ship")


def _asked(terminal: Terminal, question: str, default: str, why: str) -> str:
    """What the user says; the default where nothing is said, or nobody can be asked."""
    suffix = f" [{default}]" if default else ""
    return terminal.ask(why, f"{question}{suffix}") or default


def _name_of(run: Run) -> str:
    """A name to propose: that of the folder above where the run's own folder has a name that says nothing."""
    from ggship.place import name_for

    folder = run.root.resolve()
    plain = folder.name.casefold() in ("lora-out", "output", "outputs", "out", "lora", "adapter", "checkpoints", "run")
    chosen = folder.parent.name if plain and folder.parent.name else folder.name
    return name_for(chosen).casefold()


def _base(home: Path, base: str) -> str:
    return base if base.startswith(("ollama:", "hf:")) else _from(home, Path(base))


def _found_suite(run: Path) -> Path | None:
    """A suite.yaml that lies beside the run, or here."""
    for folder in (run.parent, Path()):
        if (folder / "suite.yaml").is_file():
            return folder / "suite.yaml"
    return None


def _from(home: Path, path: Path) -> str:
    """The path as it is to stand in a file of that folder: relative where it lies within, else whole."""
    resolved = path.expanduser().resolve()
    return f"./{resolved.relative_to(home).as_posix()}" if resolved.is_relative_to(home) else str(resolved)
