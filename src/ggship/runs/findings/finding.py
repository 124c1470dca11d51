"""Find everything: the one door to all rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ggship.runs.findings.base import remote_code, what_the_base_says, whether_they_add_up
from ggship.runs.findings.config import what_the_config_says
from ggship.runs.findings.files import what_lies_in_the_run
from ggship.runs.findings.glance import looks_odd
from ggship.runs.findings.model import LEVELS, Finding
from ggship.runs.findings.obstacles import what_stands_in_the_way
from ggship.runs.findings.training import how_training_went
from ggship.runs.model import Run

if TYPE_CHECKING:
    from ggship.bases.fingerprint import Fingerprint
    from ggship.bases.model import Base


def findings(
    run: Run, base: Base | None = None, *, deep: bool = False, seen: Fingerprint | None = None
) -> tuple[Finding, ...]:
    """All findings on a run: errors first, then warnings, then notes, each by code.

    From headers, small files and a glance at the numbers, unless `deep`: then every tensor is read. With `base` the run
    is held against it too; seen: their fingerprint, where the caller has it already. What makes a run unreadable is no
    finding but an error with the rule's code in `GgshipError.rule`.
    Law: equal runs give equal findings, wherever they lie.
    """
    every = _of_shares(run, base, deep) if run.shares else _all(run, base, deep, seen)
    found = sorted(every, key=lambda finding: (LEVELS.index(finding.level), finding.code))
    return tuple(dict.fromkeys(found))


def _of_shares(run: Run, base: Base | None, deep: bool) -> Iterator[Finding]:
    """Of a blend: what is found on each of its runs, with the names of all that it is found on."""
    labels: dict[Finding, list[str]] = {}
    for share in run.shares:
        for finding in dict.fromkeys(_all(share.run, base, deep, None)):
            labels.setdefault(finding, []).append(share.run.label)
    for finding, named in labels.items():
        yield replace(finding, evidence=f"{', '.join(dict.fromkeys(named))}: {finding.evidence}")
    if base is not None:
        yield from whether_they_add_up(run, base)


def _all(run: Run, base: Base | None, deep: bool, seen: Fingerprint | None) -> Iterator[Finding]:
    yield from what_lies_in_the_run(run)
    yield from what_the_config_says(run)
    yield from what_stands_in_the_way(run)
    yield from how_training_went(run)
    for directory in dict.fromkeys((run.path, run.root)):
        yield from remote_code(directory, run.root, "config.json of the run")
    if base is not None:
        yield from what_the_base_says(run, base, seen)
    if deep or looks_odd(run):
        from ggship.runs.findings.numbers import what_the_numbers_say

        yield from what_the_numbers_say(run)
