"""A contest for people: tables that fit a terminal of 80 columns, and the lines below them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ggship.evals.contest import Contest, Standing
from ggship.evals.gates import observed_text
from ggship.evals.odd import escape_odd
from ggship.evals.summary import percent

Table = list[tuple[str, ...]]
LONGEST_NAME = 20
SHOWN_CASES = 8
_NONE = "–"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """For each name one that fits a table: without address or folder where the rest tells them apart, else numbered."""
    tails = [name.rpartition("#")[2].rstrip("/").rpartition("/")[2] or name for name in names]
    shown = [_fitted(tail, LONGEST_NAME) for tail in tails]
    if len(set(shown)) < len(shown):
        shown = [f"{place} {_fitted(tail, LONGEST_NAME - 3)}" for place, tail in enumerate(tails, 1)]
    return dict(zip(names, map(escape_odd, shown), strict=True))


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """For each model the folder of its report: its short name in letters that every file system takes."""
    shown = [re.sub(r"[^\w.-]+", "-", short).strip("-.") or "model" for short in short_names(names).values()]
    if len({name.casefold() for name in shown}) < len(shown):
        shown = [f"{place}-{name}" for place, name in enumerate(shown, 1)]
    return dict(zip(names, shown, strict=True))


def tables(contest: Contest) -> list[Table]:
    """How each model did, each against the baseline, and how fast they are; the first row of each is its head."""
    made = (_quality(contest), _difference(contest), _likelihood(contest), _speed(contest))
    return [table for table in made if len(table) > 1]


def contest_rows(contest: Contest) -> list[tuple[str, str]]:
    """(name, value) lines below the tables: whole names, regressions, smoke checks, gates, what to know, verdict."""
    short = _short(contest)
    rows = [(shown, f"is {name}") for name, shown in short.items() if shown != name]
    for model in contest.models[1:]:
        who = short[model.name]
        lost = model.comparison.regressions if model.comparison else ()
        if lost:
            more = f" and {len(lost) - SHOWN_CASES} more" if len(lost) > SHOWN_CASES else ""
            rows.append((who, f"regressions: {', '.join(lost[:SHOWN_CASES])}{more}"))
        rows += [
            (who, f"✗ {check.name}: {check.reason}") for check in model.smoke if check.outcome in ("fail", "error")
        ]
        rows += [(who, f"{'✓' if gate.passed else '✗'} {gate.rule} ({observed_text(gate)})") for gate in model.gates]
    rows += [("judged with", f"{one.kind} {one.name}") for one in contest.instruments]
    rows += [("note", warning) for warning in contest.warnings]
    rows.append(("verdict", "passed" if contest.passed else "failed"))
    return [(name, escape_odd(value)) for name, value in rows]


def _short(contest: Contest) -> dict[str, str]:
    return short_names([model.name for model in contest.models])


def _quality(contest: Contest) -> Table:
    short = _short(contest)
    rows: Table = [("", "passed", "95 %", "score", "errors", "")]
    for model in contest.models:
        side = model.score
        bounds = _NONE if side.interval is None else f"{100 * side.interval[0]:.0f} to {100 * side.interval[1]:.0f}"
        verdict = "baseline" if model.verdict is None else "passed" if model.verdict.passed else "failed"
        score = _NONE if side.score is None else f"{side.score:.3f}"
        rows.append((short[model.name], percent(side.pass_rate), bounds, score, str(side.errors or _NONE), verdict))
    return rows


def _difference(contest: Contest) -> Table:
    short = _short(contest)
    p = "p (Holm)" if len(contest.models) > 2 else "p"
    rows: Table = [(f"vs {short[contest.baseline]}", "points", "95 %", "better", "worse", "alike", p)]
    for model in contest.models[1:]:
        compared = model.comparison
        if compared is not None and compared.pairs:
            counts = (len(compared.wins), len(compared.losses), compared.ties)
            rows.append((short[model.name], *_points(model), *map(str, counts), _p(model.holm_p)))
    return rows


def _points(model: Standing) -> tuple[str, str]:
    compared = model.comparison
    if compared is None or compared.delta_pass_rate is None or compared.delta_interval is None:
        return _NONE, _NONE
    low, high = compared.delta_interval
    return f"{100 * compared.delta_pass_rate:+.1f}", f"{100 * low:+.0f} to {100 * high:+.0f}"


def _likelihood(contest: Contest) -> Table:
    """Empty where it is of none known."""
    short = _short(contest)
    rows: Table = [("right answers", "perplexity", "log-likelihood", "bits a byte", "tokens")]
    for model in contest.models:
        found = model.score.likelihood
        cells = (_NONE,) * 4
        if found is not None:
            figures = (f"{found.perplexity:.3f}", f"{found.log_likelihood:.3f}", f"{found.bits_per_byte:.3f}")
            cells = (*figures, str(found.tokens))
        rows.append((short[model.name], *cells))
    return rows if any(model.score.likelihood for model in contest.models) else []


def _speed(contest: Contest) -> Table:
    short = _short(contest)
    head = ("speed", "p50", "p95", "first token", "tokens/s", "load")
    rows: Table = []
    for model in contest.models:
        speed = model.speed
        times = map(_seconds, (speed.p50_seconds, speed.p95_seconds, speed.first_token_p50_seconds))
        rate = _NONE if speed.tokens_per_second is None else f"{speed.tokens_per_second:.1f}"
        rows.append((short[model.name], *times, rate, _seconds(speed.load_seconds)))
    told = [place for place in range(len(head)) if not place or any(row[place] != _NONE for row in rows)]
    return [tuple(row[place] for place in told) for row in (head, *rows)] if len(told) > 1 else []


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f} s"


def _p(value: float | None) -> str:
    if value is None:
        return _NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _fitted(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width // 2]}…{name[len(name) - width + width // 2 + 1 :]}"
