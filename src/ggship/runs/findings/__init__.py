"""What is wrong or odd about a run, by rules with stable codes (docs/rules.md)."""

from __future__ import annotations

from ggship.runs.findings.catalogue import RULES
from ggship.runs.findings.finding import findings
from ggship.runs.findings.model import LEVELS, Finding, Level, Rule
from ggship.runs.findings.strict import refuse_warnings

__all__ = ["LEVELS", "RULES", "Finding", "Level", "Rule", "findings", "refuse_warnings"]
