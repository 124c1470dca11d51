"""`ggship package`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import (
    base_option,
    converter_option,
    force_option,
    host_option,
    json_option,
    outtype_option,
    pull_option,
    run_argument,
    runtime_option,
)
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.plan import Plan
    from ggship.ship import Shipped
    from ggship.stages.job import Job


@click.command()
@run_argument
@click.option("--name", required=True, show_envvar=True, help="The name people will use.")
@base_option
@click.option("--out", type=click.Path(path_type=Path), show_envvar=True, help="The package's folder.  [dist/NAME]")
@click.option(
    "--strategy",
    type=click.Choice(["auto", "adapter", "merge"]),
    default="auto",
    show_default=True,
    show_envvar=True,
    help="Serve the adapter beside its base, or merge both.",
)
@click.option("--quant", metavar="TYPE", show_envvar=True, help="F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M for a merge.")
@click.option("--system", metavar="TEXT", show_envvar=True, help="A system prompt for every conversation.")
@click.option("--template", metavar="FILE", show_envvar=True, help="The chat template of training (Jinja).")
@click.option("--suite", type=click.Path(path_type=Path), show_envvar=True, help="Questions that must be passed.")
@click.option("--no-eval", is_flag=True, help="Only the smoke test, no suite.")
@host_option
@runtime_option
@converter_option
@outtype_option
@pull_option
@force_option
@click.option("--dry-run", is_flag=True, help="Show what would be done, and why.")
@json_option
@click.pass_obj
def package(terminal: Terminal, /, dry_run: bool, no_eval: bool, **given: Any) -> None:
    """Turn RUN into a proven, live model: convert, create, ask, compare, and only then promote."""
    from ggship.plan import PackageOptions
    from ggship.runtimes.find import find_runtime
    from ggship.runtimes.names import check_model_name
    from ggship.ship import package_job, prepare

    options = PackageOptions(evaluate=not no_eval, **given)
    check_model_name(options.name)
    runtime = None if options.runtime == "none" else find_runtime(options.runtime, options.host)
    try:
        job = prepare(options, runtime=runtime)
        if dry_run:
            show_plan(terminal, job)
            return
        with terminal.steps() as steps:
            shipped = package_job(job, progress=steps, on_wait=terminal.wait_note)
        show_shipped(terminal, shipped)
    finally:
        if runtime is not None:
            runtime.close()


def show_plan(terminal: Terminal, job: Job) -> None:
    """What would be done, and why."""
    plan: Plan = job.plan
    if terminal.as_json:
        terminal.document({**plan.document(), "base": job.base.ref, "prompt": job.prompt.document()})
        return
    from ggship.card import human_size

    rows = [
        ("run", f"{job.run.path} ({job.run.chosen})"),
        ("base", f"{job.base.ref} ({job.base.found})"),
        *plan.reasons,
        *job.prompt.reasons(),
        ("verified", "; ".join(job.verifications())),
        *((f"size of {name}", human_size(size)) for name, size in plan.sizes.items()),
        ("package", str(job.options.folder)),
    ]
    terminal.lines(rows)
    terminal.say("\nNothing was done. Leave --dry-run out to do it.")


def show_shipped(terminal: Terminal, shipped: Shipped) -> None:
    """One calm summary: what was made, where, what it scored against the base, what to type next."""
    info = shipped.info
    if terminal.as_json:
        terminal.document({**info.document, "path": str(info.path), "ran": list(shipped.ran)})
        return
    if not shipped.ran:
        terminal.say(f"{info.path} is up to date: nothing to do.")
        return
    from ggship.cli.summary import summary_rows

    terminal.say()
    terminal.say(f"{info.name} is live." if info.digest else f"{info.name} is packaged.", style="bold green")
    terminal.lines(summary_rows(shipped))
    if info.runtime == "ollama":
        terminal.say(f"\n→ ollama run {info.live_name}")
    if info.digest:
        terminal.say(f"→ ggship eval {info.name}")
