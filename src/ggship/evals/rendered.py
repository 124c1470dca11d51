"""One prompt as the server really makes it, for the report: what no look at the questions tells."""

from __future__ import annotations

from collections.abc import Sequence

from ggship.errors import ServerError
from ggship.evals.report import CaseReport, Prompt
from ggship.evals.suite import Case
from ggship.runtimes.model import Endpoint

LONGEST = 20_000


def rendered_prompt(endpoint: Endpoint, cases: Sequence[Case], reports: Sequence[CaseReport]) -> Prompt | None:
    """The prompt of the first case that was answered, has no tools and no turns of the model's own; None where the
    endpoint cannot tell.

    Of one case alone: it costs a request, and the others differ from it in their words. Asked after the answers, so
    that a server that is gone is not waited for once more.
    """
    for case, report in zip(cases, reports, strict=True):
        if report.tuned.finish and not case.options.tools and not report.tuned.turns:
            try:
                text = endpoint.render(case.messages)
            except ServerError:
                return None  # what the server could not do stands in its answers
            return Prompt(case.id, text[:LONGEST]) if text else None
    return None
