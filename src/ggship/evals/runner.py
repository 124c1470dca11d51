"""Running a suite: every case to the base, then to the tuned model, and then all answers judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ggship import __version__
from ggship.clock import Clock
from ggship.errors import ServerError, ServerUnreachable
from ggship.evals import compare, gates, smoke, stats
from ggship.evals.instruments import Instruments
from ggship.evals.judging import check_needs, judge_case, needs_of
from ggship.evals.report import CaseReport, Instrument, Report, Result, Rival, Score, Speed, Timing
from ggship.evals.suite import Case, Suite
from ggship.runtimes.model import Answer, ChatOptions, Endpoint, Message

WARM_UP = (Message(role="user", content="Hi"),)
BROKEN_IN_A_ROW = 2  # answers lost to the connection, one after the other, before the server counts as gone


@dataclass(frozen=True, slots=True)
class CaseDone:
    """One case was answered, or judged by a model. side: base, tuned or judge; done of total counts over them all."""

    side: str
    case: str
    done: int
    total: int


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
) -> Report:
    """Ask both models every case, judge, compare, and give the verdict.

    All cases of one model come before those of the other, so that each is loaded once; a first request that is not
    counted warms it. special_tokens: the model's control tokens as text; none may show in an answer.
    rival: "other" where `base` is not the model's own base, and may well answer as it does.
    tuned_label, base_label: what reports call the models, where the endpoints' own are names in passing.
    instruments: what judges answers; they are closed with the evaluation. used: how the report names them.
    A server that fails makes its cases errors, never an exception: what was answered before is kept.
    UsageError before anything is asked, where a gate cannot be observed or an assertion not be judged.
    """
    rules = [gates.parse_gate(rule, suite.metrics) for rule in suite.gates]
    gates.check_base(rules, base is not None)
    judging = needs_of(suite).keys() & {"judge", "embedder"}
    started, begin = clock.now(), clock.monotonic()
    sides = [("base", base), ("tuned", tuned)]
    asked: dict[str, _Asked] = {}
    total = len(suite.cases) * (sum(endpoint is not None for _, endpoint in sides) + bool(judging))
    count = _Count(on_case, total)
    with instruments or Instruments() as judges:
        check_needs(suite, judges, has_base=base is not None)
        for side, endpoint in sides:
            if endpoint is not None:
                asked[side] = _ask_all(suite.cases, endpoint, lambda case, side=side: count.one(side, case))  # type: ignore[misc]
        cases = tuple(
            _judge(case, asked, judges, lambda case: count.one("judge", case) if judging else None)
            for case in suite.cases
        )
    tuned_score = _score(cases, tuned, tuned_label)
    base_score = _score(cases, base, base_label, of_base=True) if base is not None else None
    comparison = compare.compare(cases, tuned_score, base_score) if base_score else None
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
        warnings=compare.warnings(tuned_score, comparison),
        timing=Timing(
            started=started.isoformat(timespec="seconds"),
            seconds=clock.monotonic() - begin,
            tuned=asked["tuned"].speed(),
            base=asked["base"].speed() if "base" in asked else None,
        ),
        rival=rival,
        instruments=tuple(used),
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one model gave: for each case id its answers, one for each repeat, and why the next one is missing."""

    answers: dict[str, list[Answer]]
    errors: dict[str, str]
    load_seconds: float | None

    def speed(self) -> Speed:
        """Latencies and rate over the answers; `seconds` of a case are the mean of its repeats."""
        every = [answer for answers in self.answers.values() for answer in answers]
        counted = [answer for answer in every if answer.tokens]
        spent = sum(answer.seconds for answer in counted)
        first = [a.first_token_seconds for a in every if a.first_token_seconds is not None]
        return Speed(
            p50_seconds=stats.percentile([answer.seconds for answer in every], 0.5),
            p95_seconds=stats.percentile([answer.seconds for answer in every], 0.95),
            tokens_per_second=sum(answer.tokens or 0 for answer in counted) / spent if spent else None,
            first_token_p50_seconds=stats.percentile(first, 0.5),
            load_seconds=self.load_seconds,
            seconds={case: sum(a.seconds for a in given) / len(given) for case, given in self.answers.items() if given},
        )


def _ask_all(cases: Sequence[Case], endpoint: Endpoint, done: Callable[[str], None]) -> _Asked:
    asked = _Asked({}, {}, _warm_up(endpoint))
    gone = ""
    broken = 0
    for case in cases:
        answers = asked.answers[case.id] = []
        for options in case.options_of_repeats():
            if gone:
                asked.errors[case.id] = gone
                break
            try:
                answers.append(endpoint.chat(case.messages, options))
                broken = 0
            except ServerError as error:
                asked.errors[case.id] = str(error)
                # A status means that the server still talks. Without one, waiting for each case's time-out in turn
                # could take hours and would find nothing.
                broken = broken + 1 if error.status is None else 0
                if isinstance(error, ServerUnreachable) or broken >= BROKEN_IN_A_ROW:
                    gone = f"not asked: the server was gone at case {case.id} ({error.message})"
                break
        done(case.id)
    return asked


def _warm_up(endpoint: Endpoint) -> float | None:
    """Have the model loaded before anything is timed; gives the seconds that loading took, where the server says."""
    try:
        return endpoint.chat(WARM_UP, ChatOptions(num_predict=1)).load_seconds
    except ServerError:
        return None  # the first case will meet the same error, and there it is recorded


def _judge(case: Case, asked: dict[str, _Asked], judges: Instruments, done: Callable[[str], None]) -> CaseReport:
    tuned, base = asked["tuned"], asked.get("base")
    others = base.answers[case.id] if base else []
    ours = judge_case(case, tuned.answers[case.id], judges, base=others, error=tuned.errors.get(case.id, ""))
    theirs = judge_case(case, others, judges, error=base.errors.get(case.id, "")) if base else None
    both = theirs is not None and _answered(ours) and _answered(theirs)
    mine = [answer.text.strip() for answer in tuned.answers[case.id]]
    changed = mine != [answer.text.strip() for answer in others] if both else None
    done(case.id)
    return CaseReport(case.id, case.messages, ours, theirs, case.scored_weight, case.tags, changed)


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

    def one(self, side: str, case: str) -> None:
        """One more is done."""
        self.done += 1
        if self.on_case is not None:
            self.on_case(CaseDone(side, case, self.done, self.total))
