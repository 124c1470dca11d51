"""Gates over a load: the grammar is that of every gate, the names are those of a level."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from ggship.errors import UsageError
from ggship.evals.bench.report import Level, Spread
from ggship.evals.document import did_you_mean
from ggship.evals.gates import Rule, read_rule
from ggship.evals.report import Gate

_LEVEL = re.compile(r"c(\d{1,4})\.(.+)")
_SPREADS: Mapping[str, Callable[[Level], Spread | None]] = {
    "latency": lambda level: level.latency,
    "first_token": lambda level: level.first_token,
    "waiting": lambda level: level.waiting,
}
_PERCENTILES = ("p50", "p90", "p95", "p99")


def _failing(kind: str) -> Callable[[Level], float | None]:
    """The share of a level's questions that failed in that way."""

    def share(level: Level) -> float | None:
        asked = level.answers + level.errors
        return sum(one.count for one in level.failures if one.kind == kind) / asked if asked else None

    return share


def _percentile(of: Callable[[Level], Spread | None], name: str) -> Callable[[Level], float | None]:
    def value(level: Level) -> float | None:
        spread = of(level)
        return None if spread is None else float(getattr(spread, name))

    return value


METRICS: Mapping[str, Callable[[Level], float | None]] = {
    "requests_per_s": lambda level: level.requests_per_s,
    "tokens_per_s": lambda level: level.tokens_per_s,
    "stream_tokens_per_s": lambda level: level.stream_tokens_per_s,
    "error_rate": lambda level: level.error_rate if level.answers + level.errors else None,
    "busy_rate": _failing("busy"),
    "timeout_rate": _failing("timeout"),
    **{f"{name}_{what}": _percentile(of, name) for what, of in _SPREADS.items() for name in _PERCENTILES},
}


def parse_rules(texts: Collection[str], concurrency: Collection[int]) -> tuple[Rule, ...]:
    """Gates that hold at every level, or at one: `p95_latency <= 2`, `c4.tokens_per_s >= 100`.

    UsageError, with the nearest right name, for a metric or a level that is not there.
    """
    return tuple(_parse(text, concurrency) for text in texts)


def _parse(text: str, concurrency: Collection[int]) -> Rule:
    rule = read_rule(text)
    level, name = _parted(rule.metric)
    if level is not None and level not in concurrency:
        raise UsageError(
            f"the gate `{rule.rule}` speaks of {level} at once, which is not measured",
            hint=f"--concurrency {','.join(map(str, [*concurrency, level]))}",
        )
    if name not in METRICS:
        raise UsageError(f"unknown metric `{name}` in the gate `{rule.rule}`", hint=did_you_mean(name, METRICS))
    return rule


def judge_rules(rules: Collection[Rule], levels: Sequence[Level], planned: Sequence[int]) -> tuple[Gate, ...]:
    """Each rule with the worst that was observed. What was planned and not measured does not hold."""
    return tuple(_judge(rule, levels, planned) for rule in rules)


def _judge(rule: Rule, levels: Sequence[Level], planned: Sequence[int]) -> Gate:
    of, name = _parted(rule.metric)
    there = {level.concurrency: level for level in levels}
    seen = [METRICS[name](there[n]) if n in there else None for n in (planned if of is None else (of,))]
    known = [value for value in seen if value is not None]
    worst = next((value for value in known if not rule.holds(value)), None)
    if worst is not None:
        picked = min if rule.sign.startswith(">") else max if rule.sign.startswith("<") else None
        return Gate(rule.rule, picked(known) if picked else worst, False, None)
    if len(known) < len(seen) or not known:
        return Gate(rule.rule, None, False, None)
    return Gate(rule.rule, min(known) if rule.sign.startswith(">") else max(known), True, None)


def _parted(metric: str) -> tuple[int | None, str]:
    match = _LEVEL.fullmatch(metric)
    return (int(match[1]), match[2]) if match else (None, metric)
