"""The figures of people as rows for a terminal, a page, a pull request."""

from __future__ import annotations

from collections.abc import Iterable

from ggship.evals.agreement import enough
from ggship.evals.gates import observed_text
from ggship.evals.report import Agreement, Gate, Humans, Rate
from ggship.evals.summary import percent


def human_rows(found: Humans, rival: str = "base") -> list[tuple[str, str]]:
    """(name, value) lines: who read what, the rates with their intervals, how much people agree."""
    rows = [("read", f"{found.read} of {_cases(found.cases)}")]
    rows += [(_short(one.name), f"{one.read} of {found.cases}") for one in found.reviewers]
    rates = [
        ("accepted", found.accept),
        ("edited", found.edit),
        ("rejected", found.reject),
        ("preferred", found.prefer_tuned),
        (f"{_short(rival)} accepted", found.base_accept),
    ]
    rows += [(name, rate_text(rate)) for name, rate in rates if rate is not None]
    if found.agreement:
        rows.append(("agreement", agreement_text(found.agreement)))
    if found.preference_agreement:
        rows.append(("on which is better", agreement_text(found.preference_agreement)))
    if not found.agreement and len(found.reviewers) > 1:
        rows.append(("agreement", f"two people must read the same {enough(found.cases)} first"))
    if 0 < found.read < enough(found.cases):
        rows.append(("too few", f"gates need {enough(found.cases)} cases read, and {found.read} were"))
    if found.of_other_answers:
        count = found.of_other_answers
        rows.append(
            (
                "not counted",
                f"{count} {'judgement' if count == 1 else 'judgements'} of other answers to the same questions",
            )
        )
    return rows


def gate_rows(gates: Iterable[Gate]) -> list[tuple[str, str]]:
    """A row for each gate: verdict, rule, what was observed, interval."""
    return [("gate", f"{'✓' if gate.passed else '✗'} {gate.rule} ({observed_text(gate)})") for gate in gates]


def rate_text(rate: Rate) -> str:
    """83.3 % (95 %: 66 % to 93 %)."""
    low, high = rate.interval
    return f"{percent(rate.value)} (95 %: {100 * low:.0f} % to {100 * high:.0f} %)"


def agreement_text(found: Agreement) -> str:
    """0.61 (Cohen's kappa), the same in 84 % of 25."""
    return f"{found.kappa:.2f} ({found.method}), the same in {percent(found.same)} of {found.judgements}"


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
