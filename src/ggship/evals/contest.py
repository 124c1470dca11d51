"""Several models and one suite: each asked once, each held against one of them, with what chance may have done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

from ggship import __version__
from ggship.clock import Clock
from ggship.errors import UsageError
from ggship.evals import compare, stats
from ggship.evals.instruments import Instruments
from ggship.evals.kept import Kept
from ggship.evals.once import Once, OneVerdict
from ggship.evals.report import (
    Comparison,
    Gate,
    Instrument,
    Report,
    Result,
    Score,
    SmokeCheck,
    Speed,
    Verdict,
)
from ggship.evals.runner import OnCase, evaluate
from ggship.evals.suite import Suite
from ggship.runtimes.model import Endpoint, Message

Equip = Callable[[], tuple[Instruments, Sequence[Instrument]]]


@dataclass(frozen=True, slots=True)
class Entered:
    """A model that can be asked now. special_tokens: its control tokens as text."""

    endpoint: Endpoint
    special_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that takes part. name: as reports call it. open: has it ready to be asked for as long as it is entered;
    it is given the endpoint of the baseline, None where this is the baseline itself.
    """

    name: str
    open: Callable[[Endpoint | None], AbstractContextManager[Entered]]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one model did. For the baseline, comparison, holm_p and verdict are None: it is what others are held against.

    holm_p: McNemar's exact p of the difference from the baseline, corrected after Holm for the number of models.
    """

    name: str
    score: Score
    speed: Speed
    comparison: Comparison | None = None
    holm_p: float | None = None
    smoke: tuple[SmokeCheck, ...] = ()
    gates: tuple[Gate, ...] = ()
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class ContestCase:
    """One case with what every model made of it, by the model's name."""

    id: str
    messages: tuple[Message, ...]
    weight: float
    tags: tuple[str, ...]
    results: dict[str, Result]


@dataclass(frozen=True, slots=True)
class Contest:
    """A comparison of several models. models: the baseline first, then as they were named. started: ISO 8601, UTC.

    Law: verdict.passed where the verdict of every model but the baseline is; its reasons are theirs.
    """

    suite: str
    suite_digest: str
    ggship_version: str
    started: str
    seconds: float
    baseline: str
    models: tuple[Standing, ...]
    cases: tuple[ContestCase, ...]
    warnings: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    verdict: Verdict

    @property
    def passed(self) -> bool:
        """Whether every model that was held against the baseline may go live."""
        return self.verdict.passed


@dataclass(frozen=True, slots=True)
class Held:
    """What came of it: the contest, and for each model but the baseline the whole report of its comparison."""

    contest: Contest
    reports: dict[str, Report]


def hold_contest(
    suite: Suite,
    baseline: Contender,
    others: Sequence[Contender],
    *,
    clock: Clock,
    equip: Equip = lambda: (Instruments(), ()),
    on_model: Callable[[str], None] | None = None,
    on_case: OnCase | None = None,
    on_report: Callable[[Report], None] | None = None,
    kept: Kept | None = None,
    concurrency: int | None = None,
    likelihood: bool = False,
) -> Held:
    """Ask the baseline and then each of the others the suite, one model after the other, and compare.

    The baseline is asked once; its answers, errors and times stand in every comparison. A judge judges each answer
    once. equip: what judges, made anew for each comparison. on_model: told the name before a model is asked
    (before the first, both names); on_report: what came of a comparison. kept, concurrency, likelihood: as `evaluate`
    has them.
    Raises what `evaluate` raises; UsageError where two have the same name.
    """
    names = [baseline.name, *(other.name for other in others)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name} is named twice", hint="each model stands in the comparison once")
    if not others:
        raise UsageError("one model alone is no comparison", hint="name another one; or ggship eval NAME")
    verdicts = OneVerdict()
    reports: dict[str, Report] = {}
    with ExitStack() as stack:
        beside = stack.enter_context(baseline.open(None)).endpoint
        base = Once(beside)
        for other in others:
            instruments, used = equip()
            if instruments.judge is not None:
                instruments = replace(instruments, judge=verdicts.by(instruments.judge))
            with other.open(beside) as entered:
                if on_model:
                    on_model(other.name if reports else f"{baseline.name} and {other.name}")
                reports[other.name] = evaluate(
                    suite,
                    entered.endpoint,
                    base,
                    clock=clock,
                    on_case=on_case,
                    special_tokens=entered.special_tokens,
                    instruments=instruments,
                    used=used,
                    tuned_label=other.name,
                    base_label=baseline.name,
                    rival="other",
                    kept=kept,
                    concurrency=concurrency,
                    likelihood=likelihood,
                )
                if on_report:
                    on_report(reports[other.name])
            base.shut()  # every answer of its is known: it need not stay in memory while others are asked
            stack.close()
    return Held(contest_of(baseline.name, list(reports.values())), reports)


def contest_of(baseline: str, reports: Sequence[Report]) -> Contest:
    """The contest that these comparisons with the same baseline are."""
    first = reports[0]
    if first.base is None or first.timing.base is None:
        raise AssertionError("a comparison has two sides")
    adjusted = stats.holm([report.comparison.mcnemar_p if report.comparison else 1.0 for report in reports])
    models = [Standing(baseline, first.base, first.timing.base)]
    models += [
        Standing(
            report.tuned.label,
            report.tuned,
            report.timing.tuned,
            report.comparison,
            p,
            report.smoke,
            report.all_gates,
            report.verdict,
        )
        for report, p in zip(reports, adjusted, strict=True)
    ]
    cases = tuple(
        ContestCase(
            rows[0].id,
            rows[0].messages,
            rows[0].weight,
            rows[0].tags,
            {
                **({baseline: rows[0].base} if rows[0].base else {}),
                **{report.tuned.label: row.tuned for report, row in zip(reports, rows, strict=True)},
            },
        )
        for rows in zip(*(report.cases for report in reports), strict=True)
    )
    return Contest(
        suite=first.suite,
        suite_digest=first.suite_digest,
        ggship_version=__version__,
        started=first.timing.started,
        seconds=sum(report.timing.seconds for report in reports),
        baseline=baseline,
        models=tuple(models),
        cases=cases,
        warnings=(*_warnings(models), *_told(reports)),
        instruments=first.instruments,
        verdict=_verdict(models),
    )


def _verdict(models: Sequence[Standing]) -> Verdict:
    """The one place that says whether all may go live, out of what the one place for each of them said."""
    judged = [(model.name, model.verdict) for model in models if model.verdict is not None]
    reasons = tuple(f"{name}: {reason}" for name, verdict in judged for reason in verdict.reasons)
    return Verdict(all(verdict.passed for _, verdict in judged), reasons)


def _told(reports: Sequence[Report]) -> tuple[str, ...]:
    """What else the comparisons warn of, each once: a likelihood that is not known, a model replaced meanwhile."""
    found = (
        warning
        for report in reports
        for warning in report.warnings
        if warning not in compare.warnings(report.tuned, report.comparison)
    )
    return tuple(dict.fromkeys(found))


def _warnings(models: Sequence[Standing]) -> tuple[str, ...]:
    """What a reader should know before trusting the figures."""
    most = max(model.score.passes + model.score.fails for model in models)
    found = []
    if 0 < most < compare.SMALL:
        found.append(
            f"only {most} {'case was' if most == 1 else 'cases were'} judged: the intervals are wide, and a difference "
            "proves little"
        )
    for model in models:
        compared, p = model.comparison, model.holm_p
        if compared is None or p is None or not compared.delta_pass_rate or p <= 0.05:
            continue
        several = " after Holm" if len(models) > 2 else ""
        found.append(
            f"{model.name}: its difference from {models[0].name} may be chance (p = {p:.2f}{several}); "
            + compare.more_cases(compared)
        )
    return tuple(found)
