"""How fast a suite may be asked without changing what is measured."""

from __future__ import annotations

from collections.abc import Sequence

from ggship.evals.gates import Rule
from ggship.evals.suite import Case
from ggship.runtimes.model import Endpoint


def times_matter(cases: Sequence[Case], rules: Sequence[Rule]) -> bool:
    """Whether the verdict depends on how long answers take.

    Then every model is asked now, one question at a time: times of another day, or of questions that wait for each
    other, say nothing of this server.
    """
    timed = any(item.type.removeprefix("not-") == "latency" for case in cases for item in case.each_assertion())
    return timed or any(rule.timed for rule in rules)


def at_once(endpoint: Endpoint, wanted: int | None, *, timely: bool) -> int:
    """How many questions this endpoint is asked at a time.

    wanted: the user's number, which counts, up to what the endpoint can take (its `most_at_once`). Without one it is 1
    where times matter, else the endpoint's own (`at_once`): 1 for Ollama, whose OLLAMA_NUM_PARALLEL nobody can ask for
    and which only queues what is beyond it; more for servers that are built to serve many.
    """
    most = getattr(endpoint, "most_at_once", None)
    number = wanted if wanted is not None else 1 if timely else getattr(endpoint, "at_once", 1)
    return max(1, number if most is None else min(number, most))
