"""What a rule and a finding are: values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a user should know of a run.

    code: the rule's, stable for ever. level: an error stops packaging, a warning may mean a wrong or worse model, a
    note is good to know. evidence: what was seen, with names from the run's own files; never a path of this machine or
    a time, since findings stand in packages. consequence: what it means. fix: what to do.
    """

    code: str
    level: Level
    title: str
    evidence: str
    consequence: str
    fix: str

    def document(self) -> dict[str, str]:
        """The finding as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.code} {self.title}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What ggship looks for. level is the usual one; docs/rules.md says where a finding has another."""

    code: str
    level: Level
    title: str
    consequence: str
    fix: str

    def found(self, evidence: str, *, level: Level | None = None, consequence: str = "", fix: str = "") -> Finding:
        """A finding by this rule, in its words but for those that are given."""
        return Finding(
            self.code, level or self.level, self.title, evidence, consequence or self.consequence, fix or self.fix
        )
