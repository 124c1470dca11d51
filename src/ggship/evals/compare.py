"""Tuned against base: scores of each, wins and losses by case, and how much a suite of this size can prove."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ggship.evals import stats
from ggship.evals.report import CaseReport, Comparison, Result, Score

SMALL = 10
_ALIKE = 1e-6  # scores closer than this are a tie


def score_side(cases: Sequence[tuple[CaseReport, Result]], *, label: str, model: str, digest: str | None) -> Score:
    """How one model did: pass rate with its interval, mean score, mean of each metric.

    Law: all of them are over the same cases: those that weigh something and did not end in an error.
    """
    judged = [(case, result) for case, result in cases if result.outcome != "error" and case.weight > 0]
    weight = sum(case.weight for case, _ in judged)
    passed = sum(case.weight for case, result in judged if result.outcome == "pass")
    rate = passed / weight if weight else None
    number = stats.effective_number([case.weight for case, _ in judged])
    by_metric: dict[str, list[float]] = defaultdict(list)
    for _, result in judged:
        for outer in result.checks:
            for check in (outer, *outer.inner):
                by_metric[check.metric].append(check.score)
    scored = [(case.weight, result.score) for case, result in judged if result.score is not None]
    return Score(
        label=label,
        model=model,
        digest=digest,
        passes=sum(result.outcome == "pass" for _, result in judged),
        fails=sum(result.outcome == "fail" for _, result in judged),
        errors=sum(result.outcome == "error" for _, result in cases),
        pass_rate=rate,
        interval=None if rate is None else stats.wilson(rate, number),
        score=sum(w * s for w, s in scored) / sum(w for w, _ in scored) if scored else None,
        metrics={name: sum(scores) / len(scores) for name, scores in sorted(by_metric.items())},
    )


def compare(cases: Sequence[CaseReport], tuned: Score, base: Score) -> Comparison:
    """The two models case by case. Law: len(wins) + len(losses) + ties == pairs."""
    pairs = [
        (case, case.base)
        for case in cases
        if case.base is not None and case.weight > 0 and "error" not in (case.tuned.outcome, case.base.outcome)
    ]
    signs = {case.id: _sign(case.tuned, other) for case, other in pairs}
    gained = sum(case.tuned.outcome == "pass" and other.outcome == "fail" for case, other in pairs)
    regressions = tuple(case.id for case, other in pairs if case.tuned.outcome == "fail" and other.outcome == "pass")
    answered = [case.changed for case in cases if case.changed is not None]
    both = tuned.pass_rate is not None and base.pass_rate is not None
    cells = _cells(pairs)
    return Comparison(
        pairs=len(pairs),
        wins=tuple(name for name, sign in signs.items() if sign > 0),
        losses=tuple(name for name, sign in signs.items() if sign < 0),
        ties=sum(sign == 0 for sign in signs.values()),
        regressions=regressions,
        delta_pass_rate=(cells[0] - cells[1]) / cells[2] if both and cells[2] else None,
        changed_rate=sum(answered) / len(answered) if answered else None,
        mcnemar_p=stats.mcnemar(gained, len(regressions)),
        delta_interval=stats.paired_interval(*cells) if both and cells[2] else None,
        cases_needed=stats.cases_needed(*cells),
    )


def warnings(tuned: Score, comparison: Comparison | None) -> tuple[str, ...]:
    """What a reader should know before trusting the figures."""
    found = []
    number = tuned.passes + tuned.fails
    if 0 < number < SMALL:
        low, high = tuned.interval or (0.0, 1.0)
        found.append(
            f"only {number} {'case was' if number == 1 else 'cases were'} judged: the true pass rate may be anywhere "
            f"from {low:.0%} to {high:.0%}"
        )
    if number >= SMALL and comparison and comparison.wins and comparison.mcnemar_p > 0.05:
        found.append(
            f"the difference from the base may be chance (McNemar's exact p = {comparison.mcnemar_p:.2f}); "
            + more_cases(comparison)
        )
    return tuple(found)


def more_cases(comparison: Comparison) -> str:
    """How many cases would tell whether a difference of this size is chance."""
    needed = comparison.cases_needed
    if needed is None or needed <= comparison.pairs:
        return "more cases would tell"
    return f"about {needed} cases would show a difference of this size"


def _cells(pairs: Sequence[tuple[CaseReport, Result]]) -> tuple[float, float, float]:
    """Cases that only the tuned model passed, that only the other did, and all, in effective numbers of their weights.

    Over the cases that both were judged on: the others would compare unlike.
    """
    weights = [case.weight for case, _ in pairs]
    unit = stats.effective_number(weights) / sum(weights) if sum(weights) else 0.0
    gained = sum(case.weight for case, other in pairs if case.tuned.outcome == "pass" and other.outcome == "fail")
    lost = sum(case.weight for case, other in pairs if case.tuned.outcome == "fail" and other.outcome == "pass")
    return gained * unit, lost * unit, sum(weights) * unit


def _sign(tuned: Result, base: Result) -> int:
    if tuned.outcome != base.outcome:
        return 1 if tuned.outcome == "pass" else -1
    difference = (tuned.score or 0.0) - (base.score or 0.0)
    return 0 if abs(difference) < _ALIKE else (1 if difference > 0 else -1)
