"""From a file of data to the text of a suite: what `ggship suite from` does, as one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.errors import UsageError
from ggship.evals.datasets import Dataset, open_dataset
from ggship.evals.datasets.overlap import NEAR
from ggship.evals.datasets.sample import HELD_OUT, Sample, take_sample
from ggship.evals.datasets.suite_of import Reason, build_suite
from ggship.evals.document import did_you_mean
from ggship.evals.dump import render_suite
from ggship.evals.suite import Suite


@dataclass(frozen=True, slots=True)
class Wanted:
    """What kind of suite: see the options of `ggship suite from`."""

    format: str | None = None
    columns: str | None = None
    dataset: str | None = None
    encoding: str | None = None
    take: int = 50
    seed: int = 42
    split: str = HELD_OUT
    train: Sequence[Path] = ()
    near: float = NEAR
    assertion: str | None = None
    threshold: float | None = None
    recorded: str | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A suite, its text, and what it was made of."""

    suite: Suite
    text: str
    dataset: Dataset
    sample: Sample
    reasons: tuple[Reason, ...]

    def rows(self) -> list[tuple[str, str]]:
        """(name, value) lines for people."""
        asserted = [(reason.type, f"{reason.cases} cases: {reason.why}") for reason in self.reasons]
        return [("cases", f"{len(self.suite.cases)} of {self.sample.rows} questions"), *asserted] + [
            ("gate", rule) for rule in self.suite.gates
        ]

    def document(self, out: Path | None) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "suite": str(out) if out else self.text,
            "digest": self.suite.digest,
            "format": self.dataset.format.name,
            "encoding": self.dataset.encoding,
            "asserted": [{"type": one.type, "cases": one.cases, "why": one.why} for one in self.reasons],
            **self.sample.document(),
        }


def make_suite(data: Path, wanted: Wanted) -> Made:
    """A suite of a sample of that data set. UsageError where nothing can be taken from it."""
    _check_assertion(wanted.assertion)
    dataset = open_dataset(
        data, format=wanted.format, columns=wanted.columns, encoding=wanted.encoding, name=wanted.dataset
    )
    training = [_training(path, wanted) for path in wanted.train]
    sample = take_sample(
        dataset, take=wanted.take, seed=wanted.seed, split=wanted.split, training=training, near=wanted.near
    )
    if not sample.chosen:
        raise UsageError(
            f"no question of the data is {wanted.split}" if sample.rows else "no row of the data can be used",
            where=f"{data}: {sample.rows} questions, {len(sample.broken)} places that cannot be read"
            + (f", the first in {sample.broken[0]}" if sample.broken else ""),
        )
    name = wanted.dataset or data.stem
    suite, reasons = build_suite(
        sample,
        name=name,
        assertion=wanted.assertion,
        threshold=wanted.threshold,
        recorded=wanted.recorded or "",
        system=wanted.system,
    )
    return Made(suite, render_suite(suite, _head(data, wanted, sample, reasons)), dataset, sample, reasons)


def _training(path: Path, wanted: Wanted) -> Dataset:
    """Training data may have another shape than the data; columns that the user named are tried on it first."""
    try:
        return open_dataset(path, columns=wanted.columns)
    except UsageError:
        if wanted.columns is None:
            raise
        return open_dataset(path)


def _check_assertion(type_: str | None) -> None:
    from ggship.evals.assertions import REGISTRY, names

    if type_ is None:
        return
    if type_ not in REGISTRY:
        raise UsageError(f"unknown assertion `{type_}`", hint=did_you_mean(type_, names()))
    if REGISTRY[type_].value not in ("text", "none", "json?") or type_ in (
        "regex",
        "script",
        "finish-reason",
        "latency",
    ):
        raise UsageError(f"`{type_}` cannot be made of a reference answer", hint="rouge-l, chrf, bleu, similar, equals")


def _head(data: Path, wanted: Wanted, sample: Sample, reasons: Sequence[Reason]) -> str:
    lines = [
        f"{len(sample.chosen)} of {sample.rows} questions of {data.name}, seed {wanted.seed}: ggship suite from.",
        *(f"{reason.type}, {reason.cases} cases: {reason.why}." for reason in reasons),
        "The gates are a beginning: set them where you would be glad to go live.",
    ]
    if sample.training_rows is not None:
        files = ", ".join(path.name for path in wanted.train)
        lines.insert(
            1, f"Compared with {sample.training_rows} rows of {files}: the same, or {wanted.near:g} alike, is trained."
        )
    return "\n".join(lines)
