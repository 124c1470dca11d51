"""How probable a model finds the answers that the suite holds for right: the measure that training itself goes by."""

from __future__ import annotations

import math

from ggship.errors import ServerError
from ggship.evals.report import Likelihood
from ggship.evals.suite import Case, Suite
from ggship.runtimes.model import Endpoint

REFERENCES = (
    "equals",
    "levenshtein",
    "rouge-1",
    "rouge-2",
    "rouge-l",
    "rouge-n",
    "bleu",
    "chrf",
    "similar",
)
"""Assertions whose value is a right answer as a whole."""
UNABLE = "its server tells probabilities only of what it says itself, so of a given answer they are not known"


def reference_of(case: Case) -> str | None:
    """The right answer of a case: the value of its first assertion that has one. None where there is none."""
    if case.options.tools:
        return None
    values = (item.value for item in case.each_assertion() if item.type in REFERENCES)
    return next((value for value in values if isinstance(value, str) and value), None)


def measure(suite: Suite, endpoint: Endpoint) -> tuple[Likelihood | None, str]:
    """The likelihood of every reference answer, or None and why it is not known.

    All or none: over other answers the figure would be another.
    """
    score = getattr(endpoint, "score", None)
    if score is None:
        return None, UNABLE
    wanted = [(case, answer) for case in suite.cases if (answer := reference_of(case)) is not None]
    if not wanted:
        return None, f"no test holds a right answer; it takes one of {', '.join(REFERENCES[:6])}, ..."
    total, tokens, size = 0.0, 0, 0
    for case, answer in wanted:
        try:
            found = score(case.messages, answer)
        except ServerError as error:
            return None, f"{case.id}: {error}"
        if found is None:
            return None, UNABLE
        total, tokens, size = total + found.log_likelihood, tokens + found.tokens, size + len(answer.encode())
    mean = total / tokens
    return (
        Likelihood(
            cases=len(wanted),
            tokens=tokens,
            log_likelihood=mean,
            perplexity=math.exp(min(-mean, 700.0)),
            bits_per_byte=-total / math.log(2) / size,
        ),
        "",
    )
