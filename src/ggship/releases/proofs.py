"""What a release was proven by, in the few words that its history keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Proof:
    """passed: None where nothing was asked. score and gates: as the report shows them. package: the folder's path."""

    passed: bool | None = None
    score: str = ""
    gates: tuple[str, ...] = ()
    suite: str = ""
    package: str = ""

    @property
    def held(self) -> int:
        """How many gates held."""
        return sum(gate.startswith("✓") for gate in self.gates)


def proof_of(evaluated: Mapping[str, Any], package: str = "") -> Proof:
    """From the section `eval` of a package's document, of any version: what is not there is left out."""
    passed = evaluated.get("passed")
    rows = [row for row in evaluated.get("rows") or () if isinstance(row, list | tuple) and len(row) == 2]
    return Proof(
        passed=passed if isinstance(passed, bool) else None,
        score=next((str(value) for name, value in rows if name == "score"), ""),
        gates=tuple(str(value) for name, value in rows if name == "gate"),
        suite=str(evaluated.get("suite") or ""),
        package=package,
    )
