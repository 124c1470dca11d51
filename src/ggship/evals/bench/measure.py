"""A whole load: level after level, within its bounds, and what it comes to in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ggship import __version__
from ggship.clock import Clock, SystemClock
from ggship.errors import ServerError
from ggship.evals.bench.level import LevelRun
from ggship.evals.bench.plan import BenchPlan
from ggship.evals.bench.questions import Questions
from ggship.evals.bench.report import Asked, BenchReport, Level, Stopped
from ggship.evals.bench.rules import judge_rules, parse_rules
from ggship.runtimes.model import Endpoint
from ggship.runtimes.streaming import open_stream

FEW = 20  # answers: with fewer, one in twenty is none
NEARLY = 0.95  # of the best rate counts as the best: neighbouring levels differ by as much from run to run
CACHED = 0.2

OnLevel = Callable[[int, "Level | None"], None]
"""Called as (streams, None) when a level begins, and as (streams, the level) when it has been measured."""


def bench(
    endpoint: Endpoint,
    questions: Questions,
    plan: BenchPlan,
    *,
    gates: Sequence[str] = (),
    clock: Clock | None = None,
    on_level: OnLevel | None = None,
    on_tick: Callable[[float], None] | None = None,
) -> BenchReport:
    """Measure every level of the plan. A first question, which counts nowhere, has the model loaded.

    Stopped by Ctrl-C, by the plan's limit, or by a server that is gone, it gives what was measured so far, and says so.
    Raises UsageError for a gate that cannot be observed, ServerError where that first question fails.
    """
    clock = clock or SystemClock()
    rules = parse_rules(gates, plan.concurrency)
    began, started = clock.monotonic(), clock.now().isoformat(timespec="seconds")
    messages, options = questions.question(0, seed=started, marked=plan.marked)
    load_seconds = endpoint.chat(messages, replace(options, num_predict=1)).load_seconds
    levels: list[Level] = []
    stopped: Stopped = ""
    number = 1
    for streams in plan.concurrency:
        if on_level:
            on_level(streams, None)
        run = LevelRun(
            lambda: open_stream(endpoint, plan.timeout),
            questions,
            plan,
            streams,
            clock=clock,
            first=number,
            seed=started,
        )
        done = run.run(began + plan.limit, on_tick)
        number += done.asked
        if done.level is not None:
            levels.append(done.level)
            if on_level:
                on_level(streams, done.level)
        stopped = done.stopped
        if stopped:
            break
    return BenchReport(
        model=endpoint.label,
        digest=_digest(endpoint),
        ggship_version=__version__,
        started=started,
        seconds=clock.monotonic() - began,
        load_seconds=load_seconds,
        asked=Asked(
            suite=questions.name,
            suite_digest=questions.digest,
            questions=len(questions.asked),
            marked=plan.marked,
            tokens=plan.tokens,
            concurrency=plan.concurrency,
            duration=plan.duration,
            max_requests=plan.max_requests,
            timeout=plan.timeout,
            limit=plan.limit,
        ),
        levels=tuple(levels),
        stopped=stopped,
        gates=judge_rules(rules, levels, plan.concurrency),
        notes=notes(levels, plan, stopped),
    )


def _digest(endpoint: Endpoint) -> str | None:
    try:
        return endpoint.digest()
    except ServerError:
        return None


def enough(levels: Sequence[Level]) -> int | None:
    """The fewest streams that bring nearly the best rate of tokens; None where more might bring more."""
    best = max((level.tokens_per_s for level in levels), default=0.0)
    if not best:
        return None
    fewest = min(level.concurrency for level in levels if level.tokens_per_s >= NEARLY * best)
    return fewest if fewest < max(level.concurrency for level in levels) else None


def notes(levels: Sequence[Level], plan: BenchPlan, stopped: Stopped) -> tuple[str, ...]:
    """What a reader of the figures should know, a sentence each."""
    said = []
    if stopped:
        missing = [str(n) for n in plan.concurrency if n not in {level.concurrency for level in levels}]
        left = f"; not measured: {', '.join(missing)} at once" if missing else ""
        unfinished = levels[-1].unfinished if levels else 0
        still = f"; {_count(unfinished, 'question')} had no answer yet" if unfinished else ""
        said.append(f"{_WHY[stopped]}{left}{still}")
    knee = enough(levels)
    if knee is not None:
        said.append(f"more than {knee} at once bring no more tokens a second, they wait longer")
    few = [str(level.concurrency) for level in levels if 0 < level.answers < FEW]
    if few:
        said.append(
            f"fewer than {FEW} answers with {', '.join(few)} at once: p95 and p99 are nearly the slowest of them"
        )
    said += [
        f"with {level.concurrency} at once the model was loaded anew for {_count(level.loads, 'answer')}"
        for level in levels
        if level.loads
    ]
    cached = [level.cached_share for level in levels if level.cached_share is not None]
    if cached and max(cached) > CACHED:
        said.append(f"up to {max(cached):.0%} of the prompts came out of the server's memory")
    if any(level.counted_by == "pieces" for level in levels):
        said.append("the server counts no tokens: every piece that it sent counts as one")
    return tuple(said)


_WHY = {
    "interrupted": "stopped by Ctrl-C",
    "time limit": "stopped by the time limit of the whole measurement",
    "server gone": "the server was gone",
}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
