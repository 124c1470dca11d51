"""Every checkpoint of a run as a package, all asked the same; the best of them goes live: `--all-checkpoints`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ggship.clock import Clock
from ggship.errors import BadFile, GateFailed, GgshipError, NotARun, Refused, UsageError
from ggship.package import read_package
from ggship.place import Place, package_place
from ggship.plan import PackageOptions
from ggship.preflight import Preflight, of_package
from ggship.progress import Progress
from ggship.runner import Runner, run_subprocess
from ggship.runs import Checkpoint
from ggship.runs.adapters import adapters_of
from ggship.runs.places import choose_place
from ggship.runtimes.model import Runtime
from ggship.ship import Shipped, package_job, prepare
from ggship.stages.job import Job

RULE = (
    "the highest pass rate on the suite; of equals the higher mean score, then the lower eval loss, then the earlier "
    "step; one whose proof does not hold comes after all whose does"
)
CAUTION = "the best was chosen by this very suite, so its score flatters a little: measure it by other questions too"

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint as a package, and what it scored.

    name: checkpoint-300, or final for the adapter at the top of the run. package: the name of its folder, "" where
    none was made. loss, eval_loss: as training logged them. pass_rate, base_pass_rate, score: 0..1; delta: of the pass
    rates. survival: of the update in a merge. passed: whether its proof held. refused: why there is no package.
    """

    name: str
    step: int | None
    loss: float | None = None
    eval_loss: float | None = None
    package: str = ""
    pass_rate: float | None = None
    score: float | None = None
    base_pass_rate: float | None = None
    delta: float | None = None
    survival: float | None = None
    passed: bool = False
    refused: str = ""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.refused:
            return "refused"
        return "passed" if self.passed else "failed"

    def rank(self) -> tuple[Any, ...]:
        """Sorts the better one first; see RULE."""
        return (
            bool(self.refused),
            not self.passed,
            -(self.pass_rate or 0.0),
            -(self.score or 0.0),
            math.inf if self.eval_loss is None else self.eval_loss,
            math.inf if self.step is None else self.step,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A candidate before it is made: its job, or why there is none (`known.refused`)."""

    known: Candidate
    job: Job | None


@dataclass(frozen=True, slots=True)
class Compared:
    """All candidates, in the order of training. best: the one to ship; job and place: how and where it was made."""

    candidates: tuple[Candidate, ...]
    best: Candidate
    job: Job
    place: Place

    @property
    def failures(self) -> tuple[str, ...]:
        """What stands against the best, a line each."""
        return tuple(read_package(self.place.final).document["eval"].get("failures") or ())

    def document(self, chosen: Candidate | None) -> dict[str, Any]:
        """For ggship.json and --json."""
        return {
            "rule": RULE,
            "caution": CAUTION,
            "chosen": chosen.name if chosen else None,
            "candidates": [{**asdict(one), "verdict": one.verdict} for one in self.candidates],
        }


def need_comparable(options: PackageOptions, runtime: Runtime | None) -> None:
    """Raise UsageError where nothing could tell which checkpoint is best."""
    if options.more:
        hint = "compare the checkpoints of one run, then blend the ones you choose: RUN/checkpoint-300@0.5 RUN2"
        raise UsageError("--all-checkpoints is for one run", hint=hint)
    _refuse_named_one(options.run.expanduser())
    if not options.evaluate or options.suite is None:
        raise UsageError(
            "--all-checkpoints chooses by what the checkpoints answer, so it needs questions",
            where="no --suite: the smoke test passes any good model" if options.evaluate else "--no-eval asks none",
            hint="add --suite FILE; or name the one you want: RUN/checkpoint-300 (`ggship inspect RUN` lists them)",
        )
    if runtime is None:
        raise UsageError(
            "--all-checkpoints needs a runtime to ask the checkpoints on",
            hint="leave --runtime none out; --runtime embedded needs no server (ggship[embedded])",
        )


def _refuse_named_one(run: Path) -> None:
    place = choose_place(run)
    if place.path != place.root and place.path.resolve() == run.resolve():
        raise UsageError(
            "--all-checkpoints compares all checkpoints of a run, and you named one of them",
            where=str(run),
            hint=f"name the run: ggship package {place.root} --all-checkpoints; or leave --all-checkpoints out",
        )


def checkpoints_of(options: PackageOptions) -> dict[str, tuple[Path, Checkpoint | None]]:
    """The adapters of the run, as `adapters_of` finds them. Raises UsageError where there are fewer than two."""
    found = adapters_of(options.run, allow_pickle=options.allow_pickle)
    if len(found) < 2:
        raise UsageError(
            f"there is only {'one adapter' if found else 'one checkpoint'} in this run: nothing to choose from",
            where=f"{options.run}: {', '.join(found)}",
            hint="leave --all-checkpoints out; training saves more with save_steps and save_total_limit",
        )
    return found


def prepare_candidates(
    options: PackageOptions,
    *,
    runtime: Runtime,
    runner: Runner = run_subprocess,
    clock: Clock | None = None,
) -> tuple[Prepared, ...]:
    """A job for each checkpoint, or why it is refused before any work. Changes nothing.

    Raises what stops all of them: UsageError, BaseNotFound and the like; the first refusal where every one is refused.
    """
    from ggship.evals.remembered import Answers

    need_comparable(options, runtime)
    answers = Answers(package_place(options.folder, options.name).root / "base-answers.json")
    prepared: list[Prepared] = []
    stopped: list[GgshipError] = []
    for name, (path, checkpoint) in checkpoints_of(options).items():
        known = _known(name, checkpoint)
        out = options.folder.with_name(f"{options.folder.name}-{name}")
        try:
            job = prepare(
                replace(options, run=path, out=out), runtime=runtime, runner=runner, clock=clock, candidate=True
            )
        except (Refused, BadFile, NotARun) as error:
            stopped.append(error)
            prepared.append(Prepared(replace(known, refused=_why(error, path)), None))
        else:
            prepared.append(Prepared(known, replace(job, answers=answers)))
    if len(stopped) == len(prepared):
        raise stopped[0]
    return tuple(prepared)


def needs_of(prepared: Sequence[Prepared]) -> Preflight:
    """Disk and memory for all of them: a package each, and one at a time on the server."""
    found = [of_package(one.job) for one in prepared if one.job and not one.job.options.folder.is_dir()]
    disk = [need for one in found[1:] for need in one.disk if need.stage in ("convert", "merge", "base")]
    memory = max(
        (one.memory for one in found), key=lambda parts: max((size for _, size in parts), default=0), default=()
    )
    return Preflight((*(found[0].disk if found else ()), *disk), memory)


def compare_checkpoints(
    prepared: Sequence[Prepared],
    *,
    progress: Progress | None = None,
    on_candidate: Callable[[str, int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Compared:
    """Make and ask every candidate. What was done already, before a crash or another time, is not done again.

    on_candidate(name, number, of) is called before each. Raises what `package_job` raises but for what only one
    checkpoint is refused for; GateFailed is no error here.
    """
    needs_of(prepared).require()
    candidates: list[Candidate] = []
    refused: list[GgshipError] = []
    for number, one in enumerate(prepared, 1):
        if one.job is None:
            candidates.append(one.known)
            continue
        if on_candidate:
            on_candidate(one.known.name, number, len(prepared))
        try:
            candidates.append(_scored(one.known, package_job(one.job, progress=progress, on_wait=on_wait)))
        except (Refused, BadFile) as error:
            refused.append(error)
            candidates.append(replace(one.known, refused=_why(error, one.job.options.run)))
    best = min(candidates, key=Candidate.rank)
    if best.refused:
        raise refused[0]
    job = prepared[candidates.index(best)].job
    assert job is not None
    return Compared(tuple(candidates), best, job, package_place(job.options.folder, job.options.name))


def ship_best(
    compared: Compared,
    out: Path | None,
    *,
    progress: Progress | None = None,
    on_start: Callable[[str], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Shipped:
    """The best candidate as the model itself: its package in the place of the model's, live if its proof holds.

    out: as in the options for all of them. Raises GateFailed, with nothing live changed, where the proof of none holds.
    """
    best = compared.best
    if not best.passed:
        scored = f", {best.pass_rate:.1%} passed" if best.pass_rate is not None else ""
        raise GateFailed(
            f"none of {len(compared.candidates)} checkpoints passed; nothing live was changed",
            where="\n".join([f"the best is {best.name}{scored}", *compared.failures[:_SHOWN]]),
            hint=f"read what it said: {compared.place.final}/eval/report.html",
        )
    chosen = replace(
        compared.job,
        options=replace(compared.job.options, out=out),
        candidate=False,
        selection=compared.document(best),
    )
    return package_job(chosen, progress=progress, on_start=on_start, on_wait=on_wait, made=compared.place)


def _why(error: GgshipError, path: Path) -> str:
    """Why a checkpoint was refused, without the folders of this machine: it stands in the package of the best."""
    text = str(error)
    for folder in (path.parent, path.resolve().parent):
        text = text.replace(f"{folder}{os.sep}", "")
    return re.sub(r"(?<!\S)/\S*/(?=\S)", "", text)


def _known(name: str, checkpoint: Checkpoint | None) -> Candidate:
    if checkpoint is None:
        return Candidate(name, None)
    return Candidate(name, checkpoint.step, _finite(checkpoint.loss), _finite(checkpoint.eval_loss))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _scored(known: Candidate, shipped: Shipped) -> Candidate:
    from ggship.evals.codec import read_report

    info = shipped.info
    report = read_report(info.path / "eval" / "report.json")
    return replace(
        known,
        package=info.path.name,
        pass_rate=report.tuned.pass_rate,
        score=report.tuned.score,
        base_pass_rate=report.base.pass_rate if report.base else None,
        delta=report.comparison.delta_pass_rate if report.comparison else None,
        survival=(info.document["merge"] or {}).get("survival"),
        passed=info.passed,
    )
