"""`--strict`: warnings are errors."""

from __future__ import annotations

from collections.abc import Iterable

from ggship.errors import Refused
from ggship.runs.findings.model import Finding


def refuse_warnings(found: Iterable[Finding]) -> None:
    """Raise Refused where there is a warning or an error among the findings; it names every code."""
    serious = [finding for finding in found if finding.level != "note"]
    if not serious:
        return
    codes = ", ".join(dict.fromkeys(finding.code for finding in serious))
    raise Refused(
        f"--strict: {codes}",
        where="\n".join(map(str, serious)),
        hint="\n".join(dict.fromkeys(f"{finding.code}: {finding.fix}" for finding in serious)),
        rule=codes,
    )
