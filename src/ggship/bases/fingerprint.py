"""Is this the base that the adapter was trained on? A verdict, with all that speaks for and against it.

Shapes alone do not tell: the instruct model and the plain one, v0.1 and v0.2, fit the same adapter, and the wrong one
answers almost as well. Names, tokens, chat templates and the few numbers that a run shares with its base tell more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ggship.bases.fit import Fit, check_fit
from ggship.bases.likeness import repository_of, unquantized
from ggship.bases.model import Base
from ggship.bases.portable import portable
from ggship.errors import BaseMismatch
from ggship.runs.model import Run

VERDICTS = ("same", "compatible", "unlikely", "impossible")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was compared. about: shapes, name, revision, tokens, template, weights.

    says: "same" (only the very base has that), "fits", "doubt" (training may have changed it), "unlikely" or
    "impossible". text: what was found, for people, without folders of this machine.
    """

    about: str
    says: str
    text: str


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """verdict: one of VERDICTS. evidence: everything that was compared, what decided first."""

    verdict: str
    evidence: tuple[Evidence, ...]
    hint: str = ""

    @property
    def why(self) -> str:
        """What decided, in words."""
        return "; ".join(item.text for item in self.evidence if item.says in _DECIDES[self.verdict])

    def document(self) -> dict[str, Any]:
        """For ggship.json and --json."""
        found = [{"about": item.about, "says": item.says, "text": item.text} for item in self.evidence]
        return {"verdict": self.verdict, "evidence": found}


_DECIDES = {
    "same": ("same",),
    "compatible": ("fits", "doubt"),
    "unlikely": ("unlikely", "doubt"),
    "impossible": ("impossible",),
}
_ORDER = ("impossible", "unlikely", "same", "doubt", "fits")
_MANY_DOUBTS = 2


def fingerprint(run: Run, base: Base) -> Fingerprint:
    """Hold the run against the base: shapes, names, tokens, chat template, and numbers where the run has the base's.

    Reads headers, small files, and of weights a few rows. Law: equal runs and bases give equal evidence, wherever they
    lie; the base that fits nothing is "impossible", and never anything else.
    """
    if run.shares:
        return _of_all([(share.run, fingerprint(share.run, base)) for share in run.shares])
    try:
        fit = check_fit(run, base)
    except BaseMismatch as error:
        lines = [line for line in error.where.splitlines()[1:] if line]
        return _verdict(run, base, [Evidence("shapes", "impossible", "; ".join(lines) or error.message)])
    return _verdict(run, base, list(_gathered(run, base, fit)))


def _of_all(found: Sequence[tuple[Run, Fingerprint]]) -> Fingerprint:
    """Of a blend: the worst verdict, and all evidence, each with its run."""
    worst = max((seen for _, seen in found), key=lambda seen: VERDICTS.index(seen.verdict))
    evidence = [replace(item, text=f"{run.label}: {item.text}") for run, seen in found for item in seen.evidence]
    return Fingerprint(worst.verdict, tuple(sorted(evidence, key=lambda item: _ORDER.index(item.says))), worst.hint)


def require_possible(found: Fingerprint, base: Base) -> None:
    """Raise BaseMismatch where the adapter cannot have been trained on this base."""
    if found.verdict == "impossible":
        where = f"{base.ref} ({base.architecture})\n{found.why}"
        message = "the adapter was trained on another base"
        raise BaseMismatch(message, where=where, hint=found.hint, rule="GS411")


def _gathered(run: Run, base: Base, fit: Fit) -> Iterator[Evidence]:
    from ggship.bases.evidence_names import names
    from ggship.bases.evidence_tokens import template, tokens

    modules = len(fit.targets)
    how = "every weight" if fit.exact and not fit.unknown else "the dimensions"
    yield Evidence("shapes", "fits", f"{modules} modules, held against {how} of the base")
    yield from names(run, base)
    yield from tokens(run, base)
    yield from template(run, base)
    if any(item.method in ("dora", "saved", "frozen") for item in run.trained):
        from ggship.bases.evidence_weights import weights  # numpy, and a few rows of the base

        yield from weights(run, base, fit)


def _verdict(run: Run, base: Base, evidence: list[Evidence]) -> Fingerprint:
    said = [item.says for item in evidence]
    if "impossible" in said:
        verdict = "impossible"
    elif "unlikely" in said or ("same" not in said and said.count("doubt") >= _MANY_DOUBTS):
        verdict = "unlikely"
    elif "same" in said:
        verdict = "same"
    else:
        verdict = "compatible"
    ordered = tuple(sorted(evidence, key=lambda item: _ORDER.index(item.says)))
    return Fingerprint(verdict, ordered, _hint(run, base) if verdict in ("unlikely", "impossible") else "")


def _hint(run: Run, base: Base) -> str:
    """What to pass instead."""
    repository = unquantized(repository_of(run.base_named)[0])
    if not repository:
        named = f"training named {portable(run.base_named, hub=True)}; " if run.base_named else ""
        return f"{named}pass the right one with --base"
    if base.ref.startswith(f"hf:{repository}"):
        return "pass the one that training used with --base"
    return f"training named {repository}: --base hf:{repository} --pull, or a GGUF file of it"
