"""`ggship package`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import (
    allow_pickle_option,
    base_option,
    concurrency_option,
    converter_option,
    force_option,
    fresh_option,
    gate_option,
    host_option,
    json_option,
    outtype_option,
    pull_option,
    runs_argument,
    runtime_option,
    scale_option,
    strict_option,
    suite_options,
    summary_option,
)
from ggship.cli.step import telling_step
from ggship.cli.terminal import Terminal, warn_of
from ggship.errors import GgshipError

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.plan import PackageOptions, Plan
    from ggship.runs.several import RunRef
    from ggship.runtimes.model import Runtime
    from ggship.ship import Shipped
    from ggship.stages.job import Job


@click.command()
@runs_argument
@click.option("--name", required=True, help="The name people will use.")
@scale_option
@base_option
@click.option("--out", type=click.Path(path_type=Path), help="The package's folder.  [dist/NAME]")
@click.option(
    "--strategy",
    type=click.Choice(["auto", "adapter", "merge"]),
    default="auto",
    show_default=True,
    help="Serve the adapter beside its base, or merge both.",
)
@click.option("--quant", metavar="TYPE", help="F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M for a merge.")
@click.option("--system", metavar="TEXT", help="A system prompt for every conversation.")
@click.option(
    "--template",
    metavar="REF",
    help="The chat template of training: a Jinja file, a family (chatml), llamafactory:, ms-swift: or torchtune:NAME.",
)
@click.option(
    "--parameter",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    help="A Modelfile parameter, before what training recorded (several: repeat it).",
)
@click.option("--suite", type=click.Path(path_type=Path), help="Questions that must be passed.")
@gate_option
@suite_options
@concurrency_option
@fresh_option
@click.option("--no-eval", is_flag=True, help="Only the smoke test, no suite.")
@host_option
@runtime_option
@converter_option
@outtype_option
@pull_option
@force_option
@allow_pickle_option
@strict_option
@click.option("--all-checkpoints", is_flag=True, help="Package each checkpoint; the best by --suite goes live.")
@click.option("--gateway", metavar="NAME", help="Then lead the clients of this gateway to it (ggship gateway add).")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and why.")
@summary_option
@json_option
@click.pass_obj
def package(
    terminal: Terminal,
    /,
    runs: tuple[RunRef, ...],
    all_checkpoints: bool,
    dry_run: bool,
    no_eval: bool,
    summary: Path | None,
    gateway: str | None,
    **given: Any,
) -> None:
    """Turn RUN into a proven, live model: convert, create, ask, compare, and only then promote.

    Several runs of one base are added up, each update times its weight: ggship package law@0.7 tone@0.3 --name NAME
    """
    from ggship.plan import PackageOptions
    from ggship.releases.promotion import check_public_name
    from ggship.runtimes.find import find_runtime

    first, *more = runs
    options = PackageOptions(first.path, more=tuple(more), weight=first.weight, evaluate=not no_eval, **given)
    check_public_name(options.name)
    if gateway:
        from ggship.cli.gateway_after import check_gateway

        check_gateway(options, gateway, all_checkpoints=all_checkpoints)
    runtime = None if options.runtime == "none" else find_runtime(options.runtime, options.host)
    if note := getattr(runtime, "note", ""):
        terminal.warn(note)
    try:
        if all_checkpoints:
            from ggship.cli.checkpoints import package_checkpoints

            with telling_step(terminal, options.folder, None if dry_run else summary):
                package_checkpoints(terminal, options, runtime, dry_run=dry_run)
            return
        job = _prepared(terminal, options, runtime)
        warn_of(terminal, job.findings)
        if dry_run:
            show_plan(terminal, job, gateway)
            return
        for loss in job.prompt.losses:
            terminal.warn(f"the package's Modelfile says less than the model: {loss}")
        with telling_step(terminal, options.folder, summary):
            show_shipped(terminal, _packaged(terminal, job), gateway)
    finally:
        if runtime is not None:
            runtime.close()


def _prepared(terminal: Terminal, options: PackageOptions, runtime: Runtime | None) -> Job:
    """Decide everything; where nothing tells the prompt of training, ask for it on a terminal, and once."""
    from dataclasses import replace

    from ggship.prompts.training import PromptUnknown
    from ggship.ship import prepare

    try:
        return prepare(options, runtime=runtime)
    except PromptUnknown as error:
        why = f"{error.message} ({error.where}).\n{error.hint}"
        said = terminal.ask(why, "Template (a file, or a name; empty to stop)")
        if not said:
            raise
        return prepare(replace(options, template=said), runtime=runtime)


def _packaged(terminal: Terminal, job: Job) -> Shipped:
    """Do the job; Ctrl-C before the promotion says that nothing live was changed."""
    from ggship.cli.funnel import Stopped
    from ggship.ship import package_job

    begun: list[str] = []
    try:
        with terminal.steps() as steps:
            return package_job(job, progress=steps, on_start=begun.append, on_wait=terminal.wait_note)
    except KeyboardInterrupt as stop:
        raise Stopped("" if "promote" in begun else "Nothing live was changed.") from stop


def show_plan(terminal: Terminal, job: Job, gateway: str | None = None) -> None:
    """What would be done, and why."""
    from ggship.preflight import of_package

    plan: Plan = job.plan
    if terminal.as_json:
        chosen = {"base": job.base.ref, "base_choice": base_choice(job.base), "prompt": job.prompt.document()}
        terminal.document({**plan.document(), **chosen, "parameters": job.asked_with.document(), **_checked(job)})
        return
    from ggship.card import human_size
    from ggship.cli.summary import base_rows, fingerprint_row

    rows = [
        ("run", f"{job.run.path} ({job.run.chosen})"),
        *base_rows(job.base),
        *fingerprint_row(job.fingerprint),
        *job.reasons(),
        ("verified", "; ".join(job.verifications())),
        *((f"size of {name}", human_size(size)) for name, size in plan.sizes.items()),
        *of_package(job).rows(),
        ("package", str(job.options.folder)),
        *([("gateway", f"its clients are led to the model: {gateway}")] if gateway else []),
    ]
    terminal.lines(rows)
    terminal.say("\nNothing was done. Leave --dry-run out to do it.")


def _checked(job: Job) -> dict[str, Any]:
    """What was found of run and base, and what the work needs, for `--json`."""
    from ggship.preflight import of_package

    return {
        "findings": [finding.document() for finding in job.findings],
        "fingerprint": job.fingerprint.document() if job.fingerprint else None,
        "needs": of_package(job).document(),
    }


def base_choice(base: Base) -> dict[str, Any]:
    """Which base, why that one, and what else would have fitted, for `--json`."""
    return {"ref": base.ref, "found": base.found, "also_fits": list(base.alternatives)}


def shipped_document(shipped: Shipped) -> dict[str, Any]:
    """ggship.json, where it lies, what ran, and which base was chosen on this machine, for `--json`."""
    info = shipped.info
    ran = {"path": str(info.path), "ran": list(shipped.ran), "base_choice": base_choice(shipped.base)}
    return {**info.document, **ran}


def show_shipped(terminal: Terminal, shipped: Shipped, gateway: str | None = None) -> None:
    """One calm summary: what was made, where, what it scored against the base, what to type next.

    gateway: whose clients are then led to it. The one document of `--json` says how that went too.
    """
    if not terminal.as_json:
        _show_live(terminal, shipped)
    document = shipped_document(shipped)
    try:
        if gateway:
            from ggship.cli.gateway_after import lead_there

            document["gateway"] = lead_there(terminal, shipped.info, gateway)
    except GgshipError as error:
        document["gateway"] = {"error": str(error)}
        raise
    finally:
        if terminal.as_json:
            terminal.document(document)


def _show_live(terminal: Terminal, shipped: Shipped) -> None:
    info = shipped.info
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
