"""The main job, from a training run to a proven, live model: `ggship package` is a few lines around this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ggship.bases import check_fit, find_base
from ggship.bases.fingerprint import Fingerprint, fingerprint, require_possible
from ggship.bases.model import Base
from ggship.clock import Clock, SystemClock
from ggship.digests import DigestCache
from ggship.errors import GateFailed, UsageError
from ggship.needs import THIS, Machine
from ggship.package import PackageInfo, read_package
from ggship.parameters import plan_parameters
from ggship.pipeline import Outcome, Stage, run_stages, take_over
from ggship.place import Place, holding, package_place
from ggship.plan import PackageOptions, Plan, decide
from ggship.progress import Progress, Silent
from ggship.prompts.plan import plan_prompt
from ggship.releases import Known, need_memory, remember
from ggship.releases.history import refuse_version_name
from ggship.releases.promotion import base_name, check_public_name, staging_name, temporary
from ggship.releases.turns import own_turn
from ggship.runner import Runner, run_subprocess
from ggship.runs.findings import findings, refuse_warnings
from ggship.runs.several import RunRef, read_runs
from ggship.runtimes.model import Runtime
from ggship.stages.base_file import BaseFile
from ggship.stages.job import Job

if TYPE_CHECKING:
    from ggship.evals.report import Instrument
    from ggship.evals.suite import Suite


@dataclass(frozen=True, slots=True)
class Shipped:
    """What packaging did. `ran` names the stages that really ran: empty where everything was done already.

    base: the one that was chosen, how it was found, and what else would have fitted. fingerprint: whether it is the one
    of training.
    """

    info: PackageInfo
    plan: Plan
    base: Base
    ran: tuple[str, ...]
    facts: Mapping[str, Mapping[str, Any]]
    fingerprint: Fingerprint | None = None


def prepare(
    options: PackageOptions,
    *,
    runtime: Runtime | None,
    runner: Runner = run_subprocess,
    clock: Clock | None = None,
    candidate: bool = False,
) -> Job:
    """Read the run, find the base, decide everything. Works on headers only; changes nothing anywhere.

    candidate: for a package that is only to be compared with others (candidates.py).
    """
    from ggship.convert.routes import refuse_unshippable, route_of
    from ggship.runtimes.holding import holding_for, holding_of

    check_public_name(options.name)
    refuse_version_name(options.name)
    package_place(options.folder, options.name)
    run = read_runs(
        (RunRef(options.run, options.weight), *options.more),
        scale=options.scale,
        checkpoint=options.checkpoint,
        allow_pickle=options.allow_pickle,
        base_named=options.base is not None,
        template_named=options.template is not None,
    )
    refuse_unshippable(run)
    # Where the model will not run on an Ollama, its base may be on one all the same.
    held = holding_of(runtime) or holding_for(options.base, options.host)
    base = find_base(run, options.base, ollama=held, pull=options.pull)
    fit = check_fit(run, base)
    seen = fingerprint(run, base)
    require_possible(seen, base)
    found = findings(run, base, seen=seen)
    if candidate:  # all of them are candidates: it is no matter which one training held to be best
        found = tuple(finding for finding in found if finding.code != "GS502")
    if options.strict:
        refuse_warnings(found)
    plan = decide(options, run, base, runtime, fit, route_of(run, base))
    prompt = plan_prompt(run, base, options, plan)
    asked_with = plan_parameters(run, base, options.parameters)
    suite, plugins = _questions(options)
    digests = DigestCache()
    return Job(
        options=options,
        run=run,
        base=base,
        weights=BaseFile(base, digests, runner),
        plan=plan,
        prompt=prompt,
        suite=suite,
        plugins=plugins,
        runtime=runtime,
        digests=digests,
        clock=clock or SystemClock(),
        runner=runner,
        asked_with=asked_with,
        findings=found,
        fingerprint=seen,
        candidate=candidate,
    )


def _questions(options: PackageOptions) -> tuple[Suite | None, tuple[Instrument, ...]]:
    """The suite that the user named, with its tags and plugins: refused now where it could not be judged later."""
    if not options.suite or not options.evaluate:
        if options.tags or options.plugins or options.gates:
            raise UsageError("--tag, --gate and --plugins are for a suite", hint="name it with --suite FILE")
        return None, ()
    from ggship.evals.graders import Graders
    from ggship.evals.load import add_gates, keep_tagged, load_suite
    from ggship.evals.plugins import load_plugins

    plugins = load_plugins(options.plugins)
    suite = add_gates(keep_tagged(load_suite(options.suite), options.tags), options.gates)
    Graders(options.judge, options.embedder, options.judge_prompt).check(suite)
    return suite, plugins


def stages_of(job: Job) -> list[Stage]:
    """The stages of a job, in order."""
    from ggship.stages.convert import ConvertStage
    from ggship.stages.create import CreateStage
    from ggship.stages.describe import DescribeStage
    from ggship.stages.evaluate import EvaluateStage
    from ggship.stages.promote import PromoteStage
    from ggship.stages.prove import ProveStage
    from ggship.stages.weights import BaseStage, MergeRunStage, MergeStage

    stages: list[Stage] = [ConvertStage(job)] if job.plan.route.kind == "pairs" else [MergeRunStage(job)]
    if job.plan.strategy == "merge" and job.plan.route.kind == "pairs":
        stages.append(MergeStage(job))
    elif job.plan.base_file:
        stages.append(BaseStage(job))
    if job.runtime is None:
        return [*stages, DescribeStage(job)]
    create = CreateStage(job, job.runtime)
    stages += [create, ProveStage(job, job.runtime, create), EvaluateStage(job, job.runtime, create)]
    stages.append(DescribeStage(job))
    return stages if job.candidate else [*stages, PromoteStage(job, job.runtime, create)]


def package_run(
    options: PackageOptions,
    *,
    runtime: Runtime | None,
    progress: Progress | None = None,
    on_start: Callable[[str], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
    runner: Runner = run_subprocess,
    clock: Clock | None = None,
) -> Shipped:
    """Package a run: convert, merge where needed, create, prove, evaluate, promote.

    runtime: where the model goes live; None only writes the package. Raises GateFailed, with nothing live changed and
    the package kept as NAME.held, where the proof does not hold; any error of the tree in errors.py otherwise.
    """
    return package_job(
        prepare(options, runtime=runtime, runner=runner, clock=clock),
        progress=progress,
        on_start=on_start,
        on_stage=on_stage,
        on_wait=on_wait,
    )


def package_job(
    job: Job,
    *,
    progress: Progress | None = None,
    on_start: Callable[[str], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
    machine: Machine = THIS,
    made: Place | None = None,
) -> Shipped:
    """Like package_run, for a job that `prepare` has decided. `on_start` and `on_stage`: see `run_stages`.

    A candidate's package is written and settled whatever the verdict; it is never promoted, and no name is remembered.
    made: a package of the same run, whose files and answers are taken over where they would be the same. machine:
    whose disks and memory must be enough. Raises NoRoom, before the first byte, where they are not.
    """
    options, progress = job.options, progress or Silent()
    need_memory()
    place = package_place(options.folder, options.name)
    with ExitStack() as stack:
        if made is not None:
            stack.enter_context(holding(made, on_wait=on_wait))
        stack.enter_context(holding(place, on_wait=on_wait))
        stack.enter_context(own_turn(job.runtime, options.name, on_wait=on_wait))
        place.prepare()
        stages = stages_of(job)
        if made is not None:
            place = take_over(place, made, [stage for stage in stages if stage.name not in ("describe", "promote")])
        if job.needs_weights:
            job.weights.key(progress)
        if job.runtime is not None:
            stack.enter_context(temporary(job.runtime, staging_name(options.name), base_name(options.name)))
        try:
            begin = _with_room(job, machine, on_start)
            outcome = run_stages(stages, place, progress, on_start=begin, on_stage=on_stage)
        except GateFailed as error:
            place.settle(place.held)
            error.hint = f"read what it said: {place.held}/eval/report.html"
            raise
        finally:
            _sweep(place)
        if outcome.ran:
            place.settle(place.final)
        if job.candidate:
            return _shipped(job, place, outcome)
        base = job.weights.known() if job.needs_weights else job.base.gguf
        found = str(base.resolve()) if base else job.base.ref
        remember(Known(options.name, str(place.final.resolve()), found, str(job.run.path.resolve())))
    return _shipped(job, place, outcome)


def _with_room(job: Job, machine: Machine, on_start: Callable[[str], None] | None) -> Callable[[str], None]:
    """`on_start`, once disk and memory were found to be enough for the first stage that runs and all that follow."""
    begun = False

    def begin(stage: str) -> None:
        nonlocal begun
        if not begun:
            from ggship.preflight import of_package

            of_package(job).require(stage=stage, machine=machine)
            begun = True
        if on_start:
            on_start(stage)

    return begin


def _sweep(place: Place) -> None:
    """Leave no empty work folder behind: what is in it is what the next run goes on with."""
    if place.work.is_dir() and not any(place.work.iterdir()):
        place.work.rmdir()


def _shipped(job: Job, place: Place, outcome: Outcome) -> Shipped:
    return Shipped(read_package(place.final), job.plan, job.base, outcome.ran, outcome.facts, job.fingerprint)
