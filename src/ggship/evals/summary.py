"""The report in a few lines: rows for a terminal, Markdown for a model card or a pull request."""

from __future__ import annotations

from collections.abc import Iterable

from ggship.evals.agreement import enough
from ggship.evals.gates import number, observed_text
from ggship.evals.inert import code, inert
from ggship.evals.odd import escape_odd
from ggship.evals.reference import figures
from ggship.evals.report import Humans, Report, Score

SHOWN_CASES = 10


def percent(rate: float | None) -> str:
    """A rate for people; a rate that is not quite 100 % never reads so."""
    if rate is None:
        return "–"
    shown = f"{100 * rate:.1f}".removesuffix(".0")
    return ("99.9" if shown == "100" and rate < 1 else shown) + " %"


def summary_rows(report: Report) -> list[tuple[str, str]]:
    """(name, value) lines: scores against the base, comparison, smoke checks, gates, verdict."""
    rows = []
    if report.tuned.pass_rate is not None:
        rows.append(("score", _score_line(report)))
    compared = report.comparison
    if compared is not None and compared.pairs:
        count = f"{len(compared.wins)} better, {len(compared.losses)} worse, {compared.ties} alike"
        lost = _some(compared.regressions)
        rows.append(
            (f"against {report.rival_name}", count + (f"; regressions: {lost}" if lost else "; no regressions"))
        )
    if report.tuned.likelihood is not None:
        rows.append(("likelihood", _likelihood_line(report)))
    if report.errors:
        rows.append(("errors", f"{report.errors} without a judged answer: {_some(_erred(report))}"))
    bad = [check for check in report.smoke if check.outcome in ("fail", "error")]
    asked = sum(check.outcome != "skipped" for check in report.smoke)
    rows.append(("smoke", "; ".join(f"{c.name}: {c.reason}" for c in bad) or f"all {asked} checks hold"))
    rows += [("gate", f"{_tick(gate.passed)} {gate.rule} ({observed_text(gate)})") for gate in report.all_gates]
    if report.humans is not None:
        rows.append(("people", people_line(report.humans)))
    if report.reference is not None:
        rows += [(f"reference {name}", value) for name, value in figures(report.reference)]
    rows += [("judged with", f"{one.kind} {one.name}") for one in report.instruments]
    rows += [("note", warning) for warning in report.warnings]
    rows.append(("verdict", "passed" if report.passed else "failed"))
    return [(name, escape_odd(value)) for name, value in rows]


def report_markdown(report: Report, *, timings: bool = False) -> str:
    """A table of scores against the base, the gates, and what stands against the model. Ends with a newline.

    Times only with `timings`: the model card says the same whenever it is made.
    """
    lines = [f"**{'Passed' if report.passed else 'Failed'}** on the suite {inert(report.suite)}.", ""]
    if not report.passed:
        lines += [*(f"* {inert(reason)}" for reason in report.verdict.reasons), ""]
    if report.tuned.pass_rate is not None:
        lines += [*_scores(report, timings), ""]
    compared = report.comparison
    if compared is not None and compared.pairs:
        lines += [
            f"Against {_rival(report)}: {len(compared.wins)} better, {len(compared.losses)} worse, "
            f"{compared.ties} alike, {len(compared.regressions)} regressions "
            f"(McNemar's exact p = {compared.mcnemar_p:.3g}).",
            "",
        ]
    if report.all_gates:
        lines += ["| gate | observed | 95 % interval | holds |", "|---|---|---|---|"]
        for gate in report.all_gates:
            told = timings or gate in report.gates
            seen = "see report.json" if not told else "–" if gate.observed is None else number(gate.observed)
            bounds = "–" if not told or gate.interval is None else "{:.2f} to {:.2f}".format(*gate.interval)
            lines.append(f"| {code(gate.rule, cell=True)} | {seen} | {bounds} | {_tick(gate.passed)} |")
        lines.append("")
    marks = {"pass": "✓", "fail": "✗", "error": "error", "skipped": "–"}
    lines += ["Smoke checks: " + ", ".join(f"{check.name} {marks[check.outcome]}" for check in report.smoke), ""]
    if report.humans is not None:
        lines += [f"* People: {people_line(report.humans)}", ""]
    if report.reference is not None:
        lines += [f"* Reference, {name}: {inert(value)}" for name, value in figures(report.reference)] + [""]
    lines += [f"> {inert(warning)}\n" for warning in report.warnings]
    return "\n".join(lines).rstrip() + "\n"


def _scores(report: Report, timings: bool) -> list[str]:
    sides = [report.tuned] + ([report.base] if report.base else [])
    rows = [
        ("pass rate", [_rate(side) for side in sides]),
        ("mean score", [_figure(side.score) for side in sides]),
    ]
    rows += [(inert(name, cell=True), [_figure(side.metrics.get(name)) for side in sides]) for name in sides[0].metrics]
    if timings:
        speeds = [report.timing.tuned] + ([report.timing.base] if report.timing.base else [])
        rows.append(("median answer, s", [_figure(speed.p50_seconds) for speed in speeds]))
        rows.append(("95th percentile, s", [_figure(speed.p95_seconds) for speed in speeds]))
        rows.append(("tokens a second", [_figure(speed.tokens_per_second) for speed in speeds]))
    head = ["tuned"] + ([inert(report.rival_name, cell=True)] if report.base else [])
    lines = [f"| | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    return lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]


def people_line(found: Humans) -> str:
    """Who read how much, and how many answers they accepted."""
    line = f"{found.read} of {found.cases} read by {len(found.reviewers)}"
    if 0 < found.read < enough(found.cases):
        line += f" (gates need {enough(found.cases)})"
    rates = [("accepted", found.accept), ("preferred", found.prefer_tuned)]
    line += "".join(f", {percent(rate.value)} {name}" for name, rate in rates if rate)
    if found.of_other_answers:
        line += f"; {found.of_other_answers} judged other answers and do not count"
    return line


def _rival(report: Report) -> str:
    return "the base" if report.rival == "base" else inert(report.rival_name)


def _rate(side: Score) -> str:
    if side.pass_rate is None or side.interval is None:
        return "–"
    low, high = side.interval
    return f"{percent(side.pass_rate)} ({side.passes} of {side.passes + side.fails}; 95 %: {low:.0%} to {high:.0%})"


def _score_line(report: Report) -> str:
    tuned, base = report.tuned, report.base
    line = f"{percent(tuned.pass_rate)} of {tuned.passes + tuned.fails} cases"
    return line + (f", {report.rival_name} {percent(base.pass_rate)}" if base is not None else "")


def _likelihood_line(report: Report) -> str:
    sides = [report.tuned.likelihood] + ([report.base.likelihood] if report.base else [])
    told = ["–" if side is None else f"{side.perplexity:.3f}" for side in sides]
    return f"perplexity {told[0]} of the right answers" + (f", {report.rival_name} {told[1]}" if report.base else "")


def _erred(report: Report) -> list[str]:
    return [c.id for c in report.cases if c.tuned.outcome == "error" or (c.base and c.base.outcome == "error")]


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - SHOWN_CASES} more" if len(every) > SHOWN_CASES else ""
    return ", ".join(every[:SHOWN_CASES]) + more


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _tick(passed: bool) -> str:
    return "✓" if passed else "✗"
