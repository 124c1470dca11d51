"""Running a suite: every case to the base, then to the tuned model, and then all answers judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ggship import __version__
from ggship.clock import Clock
from ggship.errors import ServerError
from ggship.evals import compare, gates, smoke
from ggship.evals.asking import Asking
from ggship.evals.instruments import Instruments
from ggship.evals.judging import check_needs, judge_case, needs_of
from ggship.evals.kept import Answers, Forgetful, Kept, question_of
from ggship.evals.likelihood import measure
from ggship.evals.pace import at_once, times_matter
from ggship.evals.rendered import rendered_prompt
from ggship.evals.report import (
    CaseReport,
    Humans,
    Instrument,
    Likelihood,
    Outcome,
    Report,
    Result,
    Rival,
    Score,
    Timing,
)
from ggship.evals.suite import Case, Suite
from ggship.runtimes.model import Endpoint


@dataclass(frozen=True, slots=True)
class CaseDone:
    """One case was answered, or judged by a model. side: base, tuned or judge; done of total counts over them all.

    outcome: None where the answer is only judged after all have come. asked: False where the answers were kept from
    another time.
    """

    side: str
    case: str
    done: int
    total: int
    outcome: Outcome | None = None
    asked: bool = True


_REPLACED = {
    "tuned": "the model was replaced by another while it was asked: some answers are of the one, some of the other",
    "base": "the model compared with was replaced by another while it was asked: its answers are of both",
}

OnCase = Callable[[CaseDone], None]


def evaluate(
    suite: Suite,
    tuned: Endpoint,
    base: Endpoint | None,
    *,
    clock: Clock,
    on_case: OnCase | None = None,
    special_tokens: Sequence[str] = (),
    instruments: Instruments | None = None,
    used: Sequence[Instrument] = (),
    tuned_label: str = "",
    base_label: str = "",
    rival: Rival = "base",
    kept: Kept | None = None,
    concurrency: int | None = None,
    likelihood: bool = False,
    people: Callable[[Sequence[CaseReport]], Humans] | None = None,
) -> Report:
    """Ask both models every case, judge, compare, and give the verdict.

    All cases of one model come before those of the other, so that each is loaded once; a first request that is not
    counted warms it. special_tokens: the model's control tokens as text; none may show in an answer.
    rival: "other" where `base` is not the model's own base, and may well answer as it does.
    tuned_label, base_label: what reports call the models, where the endpoints' own are names in passing.
    kept: where answers are kept as they come. concurrency: how many questions are at a server at a time; what suits its
    kind, unless given. likelihood: also how probable the models find the reference answers, as where a gate asks it.
    instruments: what judges answers; they are closed with the evaluation. used: how the report names them.
    people: what people found of these answers, for gates such as `human.accept >= 0.8`; kept where there is anything.
    A server that fails makes its cases errors, never an exception: what was answered before is kept.
    UsageError before anything is asked, where a gate cannot be observed or an assertion not be judged.
    """
    rules = [gates.parse_gate(rule, suite.metrics) for rule in suite.gates]
    gates.check_base(rules, base is not None)
    started, begin = clock.now(), clock.monotonic()
    models = {"tuned": tuned} if base is None else {"base": base, "tuned": tuned}
    by_models = bool(needs_of(suite).keys() & {"judge", "embedder"})
    count = _Count(on_case, len(suite.cases) * (len(models) + by_models))
    timely = times_matter(suite.cases, rules)
    with instruments or Instruments() as judges:
        check_needs(suite, judges, has_base=base is not None)
        sides: dict[str, Asking] = {}
        for side, endpoint in models.items():
            there = _kept(kept, side, endpoint, suite, timely=timely)
            number = at_once(endpoint, concurrency, timely=timely)
            sides[side] = Asking(suite.cases, endpoint, clock, kept=there, at_once=number)
        cases = _judge_all(suite.cases, sides, judges, count.one, later=by_models)
    likely: dict[str, Likelihood | None] = {}
    unlikely: list[str] = []
    if likelihood or any(rule.likely for rule in rules):
        likely, unlikely = _likelihoods(suite, models, {"tuned": tuned_label, "base": base_label})
    asked = {side: asking.asked for side, asking in sides.items()}
    tuned_score = replace(_score(cases, tuned, tuned_label), likelihood=likely.get("tuned"))
    base_score = None
    if base is not None:
        base_score = replace(_score(cases, base, base_label, of_base=True), likelihood=likely.get("base"))
    comparison = compare.compare(cases, tuned_score, base_score) if base_score else None
    digests = {"tuned": tuned_score.digest, "base": base_score.digest if base_score else None}
    replaced = [side for side, asking in sides.items() if not asking.end(digests[side])]
    report = Report(
        suite=suite.name,
        suite_digest=suite.digest,
        ggship_version=__version__,
        tuned=tuned_score,
        base=base_score,
        cases=cases,
        smoke=smoke.check_smoke(cases, special_tokens=special_tokens, allowed=suite.smoke, rival=rival),
        comparison=comparison,
        gates=(),
        warnings=(*compare.warnings(tuned_score, comparison), *(_REPLACED[side] for side in replaced), *unlikely),
        timing=Timing(
            started=started.isoformat(timespec="seconds"),
            seconds=clock.monotonic() - begin,
            tuned=asked["tuned"].speed(),
            base=asked["base"].speed() if "base" in asked else None,
        ),
        rival=rival,
        instruments=tuple(used),
        prompt=rendered_prompt(tuned, suite.cases, cases),
        humans=_humans(people, cases, wanted=any(rule.human for rule in rules)),
    )
    return judged(report, rules)


def judged(report: Report, rules: Sequence[gates.Rule]) -> Report:
    """The report under these gates, in place of those it had, with its verdict."""
    plain = gates.judge_gates([rule for rule in rules if not rule.timed], report)
    timed = gates.judge_gates([rule for rule in rules if rule.timed], report)
    return replace(
        report,
        gates=plain,
        timing=replace(report.timing, gates=timed),
        verdict=gates.verdict(plain, timed, report.smoke, report.errors),
    )


def _judge_all(
    cases: Sequence[Case],
    sides: Mapping[str, Asking],
    judges: Instruments,
    tell: Callable[[str, Case, Result | None, bool], None],
    *,
    later: bool,
) -> tuple[CaseReport, ...]:
    """Ask base, then tuned, and hold each answer against its case as it comes, while the next is waited for.

    later: judge after all were asked, as where models judge: each model is loaded once.
    """
    base, tuned = sides.get("base"), sides["tuned"]
    theirs: dict[str, Result] = {}
    ours: dict[str, Result] = {}

    def of_base(case: Case) -> Result:
        assert base is not None
        error = base.asked.errors.get(case.id, "")
        before = base.asked.before[case.id]
        return judge_case(case, base.asked.answers[case.id], judges, error=error, before=before)

    def of_tuned(case: Case) -> Result:
        others = base.asked.answers[case.id] if base else []
        error = tuned.asked.errors.get(case.id, "")
        before = tuned.asked.before[case.id]
        return judge_case(case, tuned.asked.answers[case.id], judges, base=others, error=error, before=before)

    for side, asking in sides.items():
        judge, into = (of_base, theirs) if side == "base" else (of_tuned, ours)
        for case in asking.each():
            if not later:
                into[case.id] = judge(case)
            tell(side, case, into.get(case.id), asking.was_asked(case))
    for case in cases if later else ():
        ours[case.id] = of_tuned(case)
        if base:
            theirs[case.id] = of_base(case)
        tell("judge", case, ours[case.id], True)
    return tuple(_case_report(case, sides, ours[case.id], theirs.get(case.id)) for case in cases)


def _kept(kept: Kept | None, side: str, endpoint: Endpoint, suite: Suite, *, timely: bool) -> Answers:
    """Where the answers of that side are kept. Where times matter, those of another day are none."""
    if kept is None:
        return Forgetful()
    questions = [question_of(case.messages, each) for case in suite.cases for each in case.options_of_repeats()]
    if side == "base" and not timely:
        return kept.for_good(side, endpoint, questions)
    return kept.until_whole(side, endpoint, questions)


def _case_report(case: Case, sides: Mapping[str, Asking], ours: Result, theirs: Result | None) -> CaseReport:
    changed = None
    if theirs is not None and _answered(ours) and _answered(theirs):
        said = {side: [answer.text.strip() for answer in one.asked.answers[case.id]] for side, one in sides.items()}
        changed = said["tuned"] != said["base"]
    return CaseReport(case.id, case.messages, ours, theirs, case.scored_weight, case.tags, changed)


def _likelihoods(
    suite: Suite, models: Mapping[str, Endpoint], labels: Mapping[str, str]
) -> tuple[dict[str, Likelihood | None], list[str]]:
    """By side, and why one is not known. The model that was asked last comes first: it is loaded."""
    found: dict[str, Likelihood | None] = {}
    missing = []
    for side, endpoint in reversed(list(models.items())):
        found[side], why = measure(suite, endpoint)
        if why:
            missing.append(f"no likelihood of {labels[side] or endpoint.label}: {why}")
    return found, missing


def _humans(
    people: Callable[[Sequence[CaseReport]], Humans] | None, cases: Sequence[CaseReport], *, wanted: bool
) -> Humans | None:
    """What people found: always where a gate asks for it, else where somebody read one of these answers."""
    found = people(cases) if people else None
    return found if found and (wanted or found.read) else None


def _answered(result: Result) -> bool:
    """Whether the model said something, judged or not."""
    return result.outcome != "error" or bool(result.finish)


def _score(cases: Sequence[CaseReport], endpoint: Endpoint, label: str, of_base: bool = False) -> Score:
    rows = [(case, case.base if of_base else case.tuned) for case in cases]
    try:
        digest = endpoint.digest()
    except ServerError:
        digest = None  # a server that died is known by its cases' errors
    pairs = [(case, result) for case, result in rows if result is not None]
    return compare.score_side(pairs, label=label or endpoint.label, model=label or endpoint.model, digest=digest)


@dataclass(slots=True)
class _Count:
    """Tells how far it is."""

    on_case: OnCase | None
    total: int
    done: int = 0

    def one(self, side: str, case: Case, result: Result | None, asked: bool = True) -> None:
        """One more is done."""
        self.done += 1
        if self.on_case is not None:
            self.on_case(CaseDone(side, case.id, self.done, self.total, result.outcome if result else None, asked))
