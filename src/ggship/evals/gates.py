"""Gates: rules over a whole evaluation, and the one place that gives the verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from ggship.errors import UsageError
from ggship.evals import stats
from ggship.evals.agreement import enough
from ggship.evals.document import did_you_mean
from ggship.evals.reference import Reference
from ggship.evals.report import Gate, Humans, Likelihood, Rate, Report, SmokeCheck, Verdict

METRIC = "metric."
TAG, OF_TAG = "tag.", ".pass_rate"
LOW, HIGH = ".low", ".high"
WITH_INTERVAL = {
    "pass_rate",
    "base_pass_rate",
    "delta_pass_rate",
    "human.accept",
    "human.edit",
    "human.reject",
    "human.prefer_tuned",
}
"""What has a 95 % interval: NAME.low and NAME.high are its ends. So have the rates of tags."""
ALONE = {
    "pass_rate": "share of cases passed, by weight",
    "score": "mean score of the cases",
    "passes": "cases passed",
    "fails": "cases failed",
    "errors": "cases without a judged answer, of both models",
    "cases": "cases that were judged",
    "log_likelihood": "mean log-likelihood of a token of the reference answers",
    "perplexity": "exp(-log_likelihood): the lower, the less they surprise it",
    "bits_per_byte": "bits that a byte of the reference answers takes",
}
AGAINST_BASE = {
    "base_pass_rate": "share of cases that the base passed",
    "delta_pass_rate": "pass rate of the tuned model less that of the base",
    "regressions": "cases that the base passed and the tuned model failed",
    "wins": "cases where the tuned model did better",
    "losses": "cases where the base did better",
    "changed_rate": "share of answers that differ from the base's",
    "mcnemar_p": "McNemar's exact p of the difference",
    "delta_log_likelihood": "log_likelihood less that of the base",
    "perplexity_ratio": "perplexity over the base's",
}
LIKELY = {"log_likelihood", "perplexity", "bits_per_byte", "delta_log_likelihood", "perplexity_ratio"}
TIMED = {
    "p50_latency": "median seconds an answer took",
    "p95_latency": "95th percentile of the seconds an answer took",
    "tokens_per_s": "tokens a second",
    "first_token_p50": "median seconds until the first word",
    "load_seconds": "seconds that loading the model took",
}
TIMED_AGAINST_BASE = {
    "p50_latency_ratio": "p50_latency over the base's",
    "p95_latency_ratio": "p95_latency over the base's",
    "tokens_per_s_ratio": "tokens_per_s over the base's",
    "first_token_p50_ratio": "first_token_p50 over the base's",
}
HUMAN = {
    "human.accept": "share of the tuned model's answers that people accepted as they are",
    "human.edit": "share that people accepted once they had changed it",
    "human.reject": "share that people rejected",
    "human.kappa": "agreement on these (Cohen's kappa; of more than two people the mean over all pairs)",
    "human.reviewed": "share of the cases that somebody read",
    "human.reviewers": "people who read answers",
}
HUMAN_AGAINST_BASE = {
    "human.prefer_tuned": "share of the cases in which people preferred the tuned model's answer; a tie counts half",
    "human.prefer_kappa": "agreement on which answer is better",
}
KNOWN: Mapping[str, str] = {
    **ALONE,
    **AGAINST_BASE,
    **TIMED,
    **TIMED_AGAINST_BASE,
    **HUMAN,
    **HUMAN_AGAINST_BASE,
}

_RULE = re.compile(r"\s*([A-Za-z][\w.-]*)\s*(>=|<=|==|!=|>|<)\s*([-+]?\d+(?:\.\d+)?|[-+]?\.\d+)\s*(%?)\s*")
# Rates are quotients: 0.9 - 0.8 is a little under 0.1, and a reader who wrote `>= 0.1` did not mean that.
_SLACK = 1e-9
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": lambda left, right: left >= right - _SLACK,
    "<=": lambda left, right: left <= right + _SLACK,
    ">": lambda left, right: left > right + _SLACK,
    "<": lambda left, right: left < right - _SLACK,
    "==": lambda left, right: abs(left - right) <= _SLACK,
    "!=": lambda left, right: abs(left - right) > _SLACK,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed gate. rule: as it is shown; bound: the number, with % already divided by 100.

    metric: what is observed; end: LOW or HIGH where the rule holds that end of its interval against the bound.
    """

    rule: str
    metric: str
    sign: str
    bound: float
    end: str = ""

    @property
    def needs_base(self) -> bool:
        """Whether it compares with the base."""
        return self.metric in AGAINST_BASE or self.metric in TIMED_AGAINST_BASE or self.metric in HUMAN_AGAINST_BASE

    @property
    def human(self) -> bool:
        """Whether people must have read the answers."""
        return self.metric in HUMAN or self.metric in HUMAN_AGAINST_BASE

    @property
    def likely(self) -> bool:
        """Whether the likelihood of reference answers must be measured."""
        return self.metric in LIKELY

    @property
    def timed(self) -> bool:
        """Whether its value depends on the clock."""
        return self.metric in TIMED or self.metric in TIMED_AGAINST_BASE

    def holds(self, observed: float) -> bool:
        """Whether the rule holds for that value, up to a rounding error of 1e-9."""
        return _HOLDS[self.sign](observed, self.bound)


def parse_gate(text: str, metrics: Collection[str] | None = None, tags: Collection[str] | None = None) -> Rule:
    """`NAME SIGN NUMBER`, the number with or without %. `metrics` are the names that the suite's assertions give.

    tags: those of its scored tests. UsageError, with the nearest right name, for anything else.
    """
    written = read_rule(text)
    name = written.metric
    metric, end = _ended(name)
    if metric.startswith(METRIC):
        if metrics is not None and metric.removeprefix(METRIC) not in metrics:
            known = [METRIC + each for each in metrics]
            hint = did_you_mean(name, known) if known else "it takes an assertion with a weight"
            raise UsageError(f"no scored test of the suite gives `{name}`", hint=hint)
    elif tag := _tag_of(metric):
        if tags is not None and tag not in tags:
            hint = did_you_mean(tag, tags) if tags else "no scored test has a tag"
            raise UsageError(f"no scored test of the suite has the tag `{tag}`", hint=hint)
    elif metric not in KNOWN:
        names = [*KNOWN, METRIC + "NAME", f"{TAG}NAME{OF_TAG}"]
        raise UsageError(f"unknown metric `{name}` in the gate `{text.strip()}`", hint=did_you_mean(name, names))
    if end and metric not in WITH_INTERVAL and not _tag_of(metric):
        raise UsageError(
            f"`{metric}` has no interval, so there is no `{name}`",
            hint=f"these have one: {', '.join(sorted(WITH_INTERVAL))}, {TAG}NAME{OF_TAG}",
        )
    return replace(written, metric=metric, end=end)


def read_rule(text: str) -> Rule:
    """The grammar alone: a rule over a metric of whatever name. UsageError where it is none."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise UsageError(f"not a gate: {text}", hint="write it as `pass_rate >= 0.9`")
    name, sign, number, percent = match.groups()
    bound = float(number) / (100 if percent else 1)
    return Rule(f"{name} {sign} {number}{percent}", name, sign, bound)


def _ended(name: str) -> tuple[str, str]:
    """The name and, where it is an end of an interval, which. A metric may be called anything."""
    if not name.startswith(METRIC):
        for end in (LOW, HIGH):
            if name.endswith(end):
                return name.removesuffix(end), end
    return name, ""


def _tag_of(name: str) -> str:
    """The tag in tag.NAME.pass_rate; "" where it is no such name."""
    inside = name.startswith(TAG) and name.endswith(OF_TAG)
    return name[len(TAG) : -len(OF_TAG)] if inside else ""


def check_base(rules: Collection[Rule], has_base: bool) -> None:
    """UsageError where a rule compares with the base and there is none: better before asking than after."""
    for rule in rules:
        if rule.needs_base and not has_base:
            raise UsageError(
                f"the gate `{rule.rule}` needs the base model to compare with",
                hint="give one with --against, or take the gate out",
            )


def observe(report: Report) -> dict[str, float | None]:
    """Every metric that a gate can name, None where it could not be observed."""
    tuned, base, compared = report.tuned, report.base, report.comparison
    fast, slow = report.timing.tuned, report.timing.base
    seen: dict[str, float | None] = {
        "pass_rate": tuned.pass_rate,
        "score": tuned.score,
        "passes": tuned.passes,
        "fails": tuned.fails,
        "errors": report.errors,
        "cases": tuned.passes + tuned.fails,
        "base_pass_rate": base.pass_rate if base else None,
        "delta_pass_rate": compared.delta_pass_rate if compared else None,
        "regressions": len(compared.regressions) if compared else None,
        "wins": len(compared.wins) if compared else None,
        "losses": len(compared.losses) if compared else None,
        "changed_rate": compared.changed_rate if compared else None,
        "mcnemar_p": compared.mcnemar_p if compared else None,
        "p50_latency": fast.p50_seconds,
        "p95_latency": fast.p95_seconds,
        "tokens_per_s": fast.tokens_per_second,
        "p50_latency_ratio": _ratio(fast.p50_seconds, slow.p50_seconds if slow else None),
        "p95_latency_ratio": _ratio(fast.p95_seconds, slow.p95_seconds if slow else None),
        "tokens_per_s_ratio": _ratio(fast.tokens_per_second, slow.tokens_per_second if slow else None),
        "first_token_p50": fast.first_token_p50_seconds,
        "first_token_p50_ratio": _ratio(fast.first_token_p50_seconds, slow.first_token_p50_seconds if slow else None),
        "load_seconds": fast.load_seconds,
    }
    seen |= _likelihoods(tuned.likelihood, base.likelihood if base else None)
    seen |= {f"{TAG}{tag}{OF_TAG}": rate for tag, (rate, _) in _tag_rates(report).items()}
    people = observe_humans(report.humans)
    return {**seen, **people, **{METRIC + name: score for name, score in tuned.metrics.items()}}


def observe_humans(found: Humans | None) -> dict[str, float | None]:
    """What people found, by the names of gates. Rates over too few cases (`humans.enough`) are not observed at all."""
    seen: dict[str, float | None] = dict.fromkeys((*HUMAN, *HUMAN_AGAINST_BASE))
    if found is None:
        return seen
    seen["human.reviewed"] = found.read / found.cases if found.cases else None
    seen["human.reviewers"] = len(found.reviewers)
    rates = human_rates(found)
    return {**seen, **{name: rate.value for name, rate in rates.items()}, **_agreements(found)}


def human_rates(found: Humans) -> dict[str, Rate]:
    """The rates of people that rest on enough cases."""
    rates = {"human.accept": found.accept, "human.edit": found.edit, "human.reject": found.reject}
    known = rates if found.read >= enough(found.cases) else {}
    if found.preferred >= enough(found.pairs):
        known = {**known, "human.prefer_tuned": found.prefer_tuned}
    return {name: rate for name, rate in known.items() if rate is not None}


def _agreements(found: Humans) -> dict[str, float]:
    """Agreement is None where no two people read enough of the same."""
    both = {"human.kappa": found.agreement, "human.prefer_kappa": found.preference_agreement}
    return {name: agreement.kappa for name, agreement in both.items() if agreement is not None}


def _likelihoods(ours: Likelihood | None, theirs: Likelihood | None) -> dict[str, float | None]:
    """Differences only where both cut the answers into as many tokens: else a token of one is none of the other."""
    alike = ours is not None and theirs is not None and ours.tokens == theirs.tokens
    delta = ours.log_likelihood - theirs.log_likelihood if alike and ours and theirs else None
    return {
        "log_likelihood": ours.log_likelihood if ours else None,
        "perplexity": ours.perplexity if ours else None,
        "bits_per_byte": ours.bits_per_byte if ours else None,
        "delta_log_likelihood": delta,
        "perplexity_ratio": None if delta is None else math.exp(min(-delta, 700.0)),
    }


def observe_intervals(report: Report) -> dict[str, tuple[float, float] | None]:
    """The 95 % interval of each metric that has one."""
    compared = report.comparison
    return {
        "pass_rate": report.tuned.interval,
        "base_pass_rate": report.base.interval if report.base else None,
        "delta_pass_rate": compared.delta_interval if compared else None,
        **{f"{TAG}{tag}{OF_TAG}": interval for tag, (_, interval) in _tag_rates(report).items()},
        **({name: rate.interval for name, rate in human_rates(report.humans).items()} if report.humans else {}),
    }


def judge_gates(rules: Collection[Rule], report: Report) -> tuple[Gate, ...]:
    """Each rule with what was observed. What could not be observed does not hold."""
    seen, intervals = observe(report), observe_intervals(report)
    judged = []
    for rule in rules:
        observed, interval = seen.get(rule.metric), intervals.get(rule.metric)
        if rule.end:
            observed = None if interval is None else interval[rule.end == HIGH]
        passed = observed is not None and rule.holds(observed)
        judged.append(Gate(rule.rule, observed, passed, interval))
    return tuple(judged)


def _tag_rates(report: Report) -> dict[str, tuple[float, tuple[float, float]]]:
    """The tuned model's pass rate on the tests with each tag, and its interval; tests that count, and were judged."""
    judged = [case for case in report.cases if case.weight > 0 and case.tuned.outcome != "error"]
    rates = {}
    for tag in {tag for case in judged for tag in case.tags}:
        ours = [case for case in judged if tag in case.tags]
        weights = [case.weight for case in ours]
        rate = sum(case.weight for case in ours if case.tuned.outcome == "pass") / sum(weights)
        rates[tag] = rate, stats.wilson(rate, stats.effective_number(weights))
    return rates


def verdict(
    gates: Collection[Gate],
    timed: Collection[Gate],
    smoke: Collection[SmokeCheck],
    errors: int,
    reference: Reference | None = None,
) -> Verdict:
    """The one place that says whether the tuned model may go live.

    It may where every gate holds, no smoke check failed, no case ended in an error (a case that could not be judged
    proves nothing), and nothing stands against it where it was held against what was trained. The reasons hold no
    figure of the `timed` gates, so that they say the same every time.
    """
    reasons = [f"{check.name}: {check.reason}" for check in smoke if check.outcome in ("fail", "error")]
    if errors:
        reasons.append(f"{errors} {'case' if errors == 1 else 'cases'} ended in an error, so nothing is proven")
    for gate in gates:
        if not gate.passed:
            observed = unseen(gate.rule) if gate.observed is None else f"observed {number(gate.observed)}"
            reasons.append(f"gate {gate.rule}: {observed}")
    reasons += [f"gate {gate.rule} does not hold" for gate in timed if not gate.passed]
    reasons += reference.reasons if reference else ()
    return Verdict(not reasons, tuple(reasons))


def observed_text(gate: Gate) -> str:
    """What a gate saw, in words: "observed 0.9643; 95 %: 0.8229 to 0.9937"."""
    if gate.observed is None:
        return unseen(gate.rule)
    within = f"; 95 %: {number(gate.interval[0])} to {number(gate.interval[1])}" if gate.interval else ""
    return f"observed {number(gate.observed)}{within}"


def unseen(rule: str) -> str:
    """Why a gate has nothing to observe, in words."""
    if not rule.startswith("human."):
        return "nothing to observe"
    few = "too few people read the same" if "kappa" in rule else "too few of them were read"
    return f"{few} (ggship review)"


def number(value: float) -> str:
    """A figure for people: 4 digits behind the point at most, or more where it would look whole and is not."""
    if abs(value - round(value)) < _SLACK:
        return str(round(value))
    shown = f"{value:.4f}".rstrip("0")
    return f"{value:.6g}" if shown.endswith(".") else shown


def _ratio(left: float | None, right: float | None) -> float | None:
    return left / right if left is not None and right else None
