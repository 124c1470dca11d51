"""The assertions that a suite can make, by the names promptfoo gave them.

To add one: write a function that takes a `Subject` and gives a `Judgement`, and put `@assertion(...)` over it, in one
of the modules here. That is all: the suite loader checks its value, the report shows it, `metric.NAME` works in gates,
and so does `not-NAME`. Then `python -m ggship.evals.suite_schema > templates/schemas/suite.schema.json` tells editors
of it, and docs/suite.md gets a line (a test fails until both have). A user's own stand in a module that `--plugins`
names.
"""

from ggship.evals.assertions import behaviour, graded, likeness, structure, words  # noqa: F401  (they register)
from ggship.evals.assertions.registry import (
    NEGATION,
    REGISTRY,
    Judgement,
    Kind,
    Said,
    Subject,
    assertion,
    judge,
    kind_of,
    known,
    names,
)

__all__ = [
    "NEGATION",
    "REGISTRY",
    "Judgement",
    "Kind",
    "Said",
    "Subject",
    "assertion",
    "judge",
    "kind_of",
    "known",
    "names",
]
