"""Running a suite: every case to the base, then to the tuned model, each answer judged as it comes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ggship import __version__
from ggship.clock import Clock
from ggship.errors import GgshipError, ServerError, ServerUnreachable
from ggship.evals import compare, gates, smoke, stats
from ggship.evals.assertions import judge
from ggship.evals.patterns import Patterns
from ggship.evals.report import CaseReport, Checked, Report, Result, Rival, Score, Speed, Timing
from ggship.evals.suite import Assertion, Case, Suite
from ggship.runtimes.model import Answer, ChatOptions, Endpoint, Message

WARM_UP = (Message(role="user", content="Hi"),)
BROKEN_IN_A_ROW = 2  # answers lost to the connection, one after the other, before the server counts as gone
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class CaseDone:
    """One case was answered by one model. side: base or tuned; done of total counts over both."""

    side: str
    case: str
    outcome: str
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
    patterns: Patterns | None = None,
    tuned_label: str = "",
    base_label: str = "",
    rival: Rival = "base",
) -> Report:
    """Ask both models every case, judge, compare, and give the verdict.

    All cases of one model come before those of the other, so that each is loaded once; a first request that is not
    counted warms it. special_tokens: the model's control tokens as text; none may show in an answer.
    rival: "other" where `base` is not the model's own base, and may well answer as it does.
    tuned_label, base_label: what reports call the models, where the endpoints' own are names in passing.
    A server that fails makes its cases errors, never an exception: what was answered before is kept.
    UsageError before anything is asked, where a gate cannot be observed.
    """
    rules = [gates.parse_gate(rule, suite.metrics) for rule in suite.gates]
    gates.check_base(rules, base is not None)
    started, begin = clock.now(), clock.monotonic()
    sides = [("base", base), ("tuned", tuned)]
    asked: dict[str, _Asked] = {}
    total = len(suite.cases) * sum(endpoint is not None for _, endpoint in sides)
    with patterns or Patterns() as searcher:
        for side, endpoint in sides:
            if endpoint is not None:
                before = len(suite.cases) * len(asked)
                asked[side] = _ask_all(suite.cases, endpoint, searcher, _counted(on_case, side, before, total))
    cases = tuple(_pair(case, asked["tuned"].results, asked.get("base")) for case in suite.cases)
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
    """What one model gave: a result and, where there is one, an answer for each case id."""

    results: dict[str, Result]
    answers: dict[str, Answer]
    load_seconds: float | None

    def speed(self) -> Speed:
        """Latencies and rate over the answers."""
        seconds = {name: answer.seconds for name, answer in self.answers.items()}
        counted = [answer for answer in self.answers.values() if answer.tokens]
        spent = sum(answer.seconds for answer in counted)
        first = [a.first_token_seconds for a in self.answers.values() if a.first_token_seconds is not None]
        return Speed(
            p50_seconds=stats.percentile(list(seconds.values()), 0.5),
            p95_seconds=stats.percentile(list(seconds.values()), 0.95),
            tokens_per_second=sum(answer.tokens or 0 for answer in counted) / spent if spent else None,
            first_token_p50_seconds=stats.percentile(first, 0.5),
            load_seconds=self.load_seconds,
            seconds=seconds,
        )


def _ask_all(cases: Sequence[Case], endpoint: Endpoint, patterns: Patterns, done: Callable[[str, str], None]) -> _Asked:
    asked = _Asked({}, {}, _warm_up(endpoint))
    gone = ""
    broken = 0
    for case in cases:
        if gone:
            asked.results[case.id] = Result("error", error=gone)
        else:
            try:
                answer = endpoint.chat(case.messages, case.options)
            except ServerError as error:
                asked.results[case.id] = Result("error", error=str(error))
                # A status means that the server still talks. Without one, waiting for each case's time-out in turn
                # could take hours and would find nothing.
                broken = broken + 1 if error.status is None else 0
                if isinstance(error, ServerUnreachable) or broken >= BROKEN_IN_A_ROW:
                    gone = f"not asked: the server was gone at case {case.id} ({error.message})"
            else:
                broken = 0
                asked.answers[case.id] = answer
                asked.results[case.id] = judge_answer(answer, case.assertions, patterns)
        done(case.id, asked.results[case.id].outcome)
    return asked


def _warm_up(endpoint: Endpoint) -> float | None:
    """Have the model loaded before anything is timed; gives the seconds that loading took, where the server says."""
    try:
        return endpoint.chat(WARM_UP, ChatOptions(num_predict=1)).load_seconds
    except ServerError:
        return None  # the first case will meet the same error, and there it is recorded


def judge_answer(answer: Answer, assertions: Sequence[Assertion], patterns: Patterns) -> Result:
    """One answer under its assertions. An assertion that cannot be judged makes the case an error."""
    text, thinking = _clean(answer.text), _clean(answer.thinking)
    checks: list[Checked] = []
    trouble = ""
    for assertion in assertions:
        try:
            found = judge(text, assertion, patterns)
        except GgshipError as error:
            trouble = trouble or f"{assertion.type}: {error}"
            continue
        checks.append(
            Checked(assertion.type, assertion.name, found.passed, found.score, found.reason, assertion.weight)
        )
    weight = sum(check.weight for check in checks)
    passed = all(check.passed for check in checks if check.weight)
    return Result(
        outcome="error" if trouble else ("pass" if passed else "fail"),
        text=text,
        finish=answer.finish,
        score=sum(check.weight * check.score for check in checks) / weight if weight and not trouble else None,
        checks=tuple(checks),
        error=trouble,
        thinking=thinking,
        tokens=answer.tokens,
        prompt_tokens=answer.prompt_tokens,
    )


def _clean(text: str) -> str:
    """Without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return _SURROGATES.sub("\ufffd", text)


def _pair(case: Case, tuned: dict[str, Result], base: _Asked | None) -> CaseReport:
    ours, theirs = tuned[case.id], base.results[case.id] if base else None
    both = theirs is not None and _answered(ours) and _answered(theirs)
    changed = ours.text.strip() != theirs.text.strip() if both and theirs is not None else None
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


def _counted(on_case: OnCase | None, side: str, before: int, total: int) -> Callable[[str, str], None]:
    done = before

    def tell(case: str, outcome: str) -> None:
        nonlocal done
        done += 1
        if on_case is not None:
            on_case(CaseDone(side, case, outcome, done, total))

    return tell
