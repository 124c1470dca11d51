"""`ggship plan`: what ggship.yaml would change, and where."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import json_option
from ggship.cli.project import file_option, run_step
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.project import Project


@click.command()
@file_option
@click.option("--check", is_flag=True, help="Exit with 3 where something would change.")
@json_option
@click.pass_context
def plan(context: click.Context, file: Path, check: bool) -> int:
    """Say what `ggship ship` would change: the package, the live model, each target, each gateway. Changes nothing."""
    from ggship.project import read_project

    terminal: Terminal = context.obj
    project = read_project(file)
    package, stages = _package(project)
    rows = [{"what": "package", "subject": project.name, "change": bool(stages), "would": package}]
    rows += _targets(context, project, fresh=bool(stages))
    rows += _gateways(context, project, fresh=bool(stages))
    changes = sum(row["change"] is not False for row in rows)
    if terminal.as_json:
        terminal.document({"name": project.name, "changes": changes, "parts": rows, "stages": list(stages)})
    else:
        terminal.lines([(f"{row['what']} {row['subject']}", str(row["would"])) for row in rows])
        terminal.say("\nNothing was done. → ggship ship" if changes else "\nEverything is as ggship.yaml says.")
    return 3 if check and changes else 0


def _package(project: Project) -> tuple[str, tuple[str, ...]]:
    """What packaging would do, in words, and the stages that would run."""
    from ggship.cli.package import package as command
    from ggship.pipeline import pending
    from ggship.place import package_place
    from ggship.plan import PackageOptions
    from ggship.runtimes.find import find_runtime
    from ggship.ship import prepare, stages_of

    step = project.packaging()
    given = dict(command.make_context("package", list(step.arguments)).params)
    first, *more = given.pop("runs")
    evaluate = not given.pop("no_eval")
    known = {one.name for one in fields(PackageOptions)}  # the rest is for the command, as --dry-run
    asked = {key: value for key, value in given.items() if key in known}
    options = PackageOptions(first.path, more=tuple(more), weight=first.weight, evaluate=evaluate, **asked)
    runtime = None if options.runtime == "none" else find_runtime(options.runtime, options.host)
    try:
        job = prepare(options, runtime=runtime)
        waiting = pending(stages_of(job), package_place(options.folder, options.name))
    finally:
        if runtime is not None:
            runtime.close()
    if not waiting:
        return "up to date, and live as it was proven", ()
    what = "made" if not options.folder.is_dir() else "made again"
    return f"would be {what} ({', '.join(waiting)}): {job.plan.strategy}, base {job.base.ref}", waiting


def _targets(context: click.Context, project: Project, *, fresh: bool) -> list[dict[str, Any]]:
    rows = []
    for target, step in zip(project.publish, project.publishing(), strict=True):
        row: dict[str, Any] = {"what": "publish", "subject": target.to, "change": True}
        if fresh:
            row["would"] = "pushed once the package has passed"
        else:
            with context.obj.collected(as_json=True) as documents:
                run_step(context, step, "--dry-run")
            said = documents[0]
            row["change"] = any(said.get(key) for key in ("pushed", "sent", "removed"))
            row["would"] = "would be pushed" if row["change"] else "holds it already"
        rows.append(row)
    return rows


def _gateways(context: click.Context, project: Project, *, fresh: bool) -> list[dict[str, Any]]:
    rows = []
    for step in project.routing("plan"):
        row: dict[str, Any] = {"what": "gateway", "subject": step.subject, "change": True}
        if fresh:
            row["would"] = "led to the model once the package has passed"
        else:
            with context.obj.collected(as_json=True) as documents:
                run_step(context, step)
            do = documents[0]["do"] if documents else "change"
            row["change"] = do != "nothing"
            words = {"create": "a channel would be made", "change": "its channel would be changed"}
            row["would"] = words.get(do, "leads to it already")
            if changes := documents[0].get("changes") if documents else None:
                row["changes"] = changes
                row["would"] += f": {', '.join(changes)}"
        rows.append(row)
    return rows
