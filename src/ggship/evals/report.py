"""What an evaluation found, as values: cases, smoke checks, comparison, gates, verdict.

All that depends on the clock is in `timing`, so that two evaluations with the same answers differ nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ggship.evals.reference import Reference
from ggship.runtimes.model import Message, ToolCall

Outcome = Literal["pass", "fail", "error"]
Rival = Literal["base", "other"]
SmokeOutcome = Literal["pass", "fail", "error", "skipped"]


def later(default: Any = None) -> Any:
    """A field that came later: report.json files from before it are read with this in its place."""
    return field(default=default, metadata={"later": True})


@dataclass(frozen=True, slots=True)
class Checked:
    """One assertion held against one answer. Where its weight is 0 it was recorded and decided nothing.

    inner: what a set of assertions is made of.
    """

    type: str
    metric: str
    passed: bool
    score: float
    reason: str
    weight: float
    inner: tuple[Checked, ...] = later(())


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of several answers to the same case, each with the next seed; its fields are those of a result."""

    outcome: Outcome
    text: str = ""
    finish: str = ""
    score: float | None = None
    checks: tuple[Checked, ...] = ()
    error: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    turns: tuple[str, ...] = later(())


@dataclass(frozen=True, slots=True)
class Result:
    """How one model did on one case.

    outcome: pass or fail by the assertions; error where there was no answer or it could not be judged, never counted
    as either. score: weighted mean of the assertions, 0..1, None where there was none to score. finish: "stop" where
    the model ended by itself. tool_calls: what it called.

    attempts: every answer, where the case was asked several times; then `text` is the first that came out as the case
    did, a check holds where it held often enough, and scores are means. threshold: the score from which the case
    passes, whichever checks hold; None where each of them must. turns: what the model said earlier in the
    conversation, where the suite leaves turns to it.
    """

    outcome: Outcome
    text: str = ""
    finish: str = ""
    score: float | None = None
    checks: tuple[Checked, ...] = ()
    error: str = ""
    thinking: str = ""
    tokens: int | None = None
    prompt_tokens: int | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    threshold: float | None = later()
    turns: tuple[str, ...] = later(())


@dataclass(frozen=True, slots=True)
class CaseReport:
    """One case with what both models made of it. changed: whether the answers differ; None where one is missing."""

    id: str
    messages: tuple[Message, ...]
    tuned: Result
    base: Result | None = None
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    changed: bool | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable a model finds the reference answers of a suite. cases: how many have one; tokens: of all of them.

    log_likelihood: mean over the tokens, natural logarithm; perplexity: exp of its negative; both compare models with
    the same tokenizer. bits_per_byte: of the answers as UTF-8; it compares any two.
    """

    cases: int
    tokens: int
    log_likelihood: float
    perplexity: float
    bits_per_byte: float


@dataclass(frozen=True, slots=True)
class Score:
    """How one model did on all cases that weigh something. label and model: what it is called, and its name there.

    pass_rate: passed weight over judged weight, None where nothing was judged; interval: Wilson's, 95 %. errors counts
    every case, those without weight too. score: mean score of the judged cases. metrics: the same by metric name.
    likelihood: of the reference answers; None where it was not asked for, or the server cannot tell.
    """

    label: str
    model: str
    digest: str | None
    passes: int
    fails: int
    errors: int
    pass_rate: float | None
    interval: tuple[float, float] | None
    score: float | None
    metrics: dict[str, float]
    likelihood: Likelihood | None = later()  # noqa: RUF009  (a field of dataclasses)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tuned against base, by case. wins and losses are case ids: passed where the other failed, or the higher score.

    regressions: the base passed, the tuned model failed. changed_rate: share of answer pairs that differ.
    pairs: cases where both were judged. mcnemar_p: exact, two-sided, over the pairs where only one passed.
    delta_interval: Tango's, 95 %, of delta_pass_rate. cases_needed: about how many cases would show a difference of
    this size (80 % power at 5 %); None where there is no difference.
    """

    pairs: int
    wins: tuple[str, ...]
    losses: tuple[str, ...]
    ties: int
    regressions: tuple[str, ...]
    delta_pass_rate: float | None
    changed_rate: float | None
    mcnemar_p: float
    delta_interval: tuple[float, float] | None = later()
    cases_needed: int | None = later()


@dataclass(frozen=True, slots=True)
class SmokeCheck:
    """One thing that every model must do, whatever it was trained for. cases: the ids that broke it."""

    name: str
    outcome: SmokeOutcome
    reason: str
    cases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """One rule over the whole evaluation. observed: None where there was nothing to observe, and then it failed."""

    rule: str
    observed: float | None
    passed: bool
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one model answered. Seconds as the endpoint measured them, the warm-up request not counted."""

    p50_seconds: float | None
    p95_seconds: float | None
    tokens_per_second: float | None
    first_token_p50_seconds: float | None
    load_seconds: float | None
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Timing:
    """Everything that another run of the same evaluation would find otherwise. started: ISO 8601, UTC."""

    started: str
    seconds: float
    tuned: Speed
    base: Speed | None = None
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True)
class Instrument:
    """What answers were judged with beside ggship itself.

    kind: judge, embedder, plugins (assertions of the user's own) or words (what cut Chinese into words). name: the
    model, module or package with its version; digest: of the model or the module's source, None where it is not known.
    prompt: what a judge is told.
    """

    kind: Literal["judge", "embedder", "plugins", "words"]
    name: str
    digest: str | None = None
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text that the server really put before the tuned model for this case, its control tokens in letters."""

    case: str
    text: str


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of the cases that people read, 0..1; interval: Wilson's, 95 %, over cases."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Somebody who read answers, and how many cases they read."""

    name: str
    read: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How much people agree beyond chance. kappa: -1..1, by `method`; 1 where they agree everywhere.

    same: share of the judgements that are equal; judgements: pairs of them that were compared.
    """

    method: str
    kappa: float
    same: float
    judgements: int


@dataclass(frozen=True, slots=True)
class Humans:
    """What people found who read these very answers, without knowing whose they were.

    cases: those that can be read; read: those of which somebody marked the tuned answer; pairs: those that both models
    answered; preferred: those of them in which somebody preferred one or neither.
    Each case counts once, however many read it. accept, edit, reject: of the tuned model's answers, and they add up to
    1; base_accept: the same of the base's. prefer_tuned: a tie counts half. agreement: on accept, edit, reject of the
    tuned answers; preference_agreement: on which is better.
    of_other_answers: judgements of the same questions with other answers, which do not count here.
    """

    cases: int
    read: int
    reviewers: tuple[Reviewer, ...]
    accept: Rate | None
    edit: Rate | None
    reject: Rate | None
    base_accept: Rate | None
    prefer_tuned: Rate | None
    pairs: int
    preferred: int
    agreement: Agreement | None
    preference_agreement: Agreement | None
    of_other_answers: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the tuned model may go live; reasons: one line for each thing that stands against it."""

    passed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation. `gates` are the rules that do not depend on the clock; those that do are in `timing.gates`.

    rival: what `base` and its answers stand for: the model's own base, or another model that it was compared with.
    provenance: what the reader wants to know of where the model came from, as (name, value). reference: the package
    held against base and adapter in Transformers and PEFT; None until `ggship verify --reference` did that.
    prompt: of one case, as an example; None where the endpoint cannot tell. humans: what
    people found who read these answers (`ggship review`); None where nobody did and no gate asks for it.
    """

    suite: str
    suite_digest: str
    ggship_version: str
    tuned: Score
    base: Score | None
    cases: tuple[CaseReport, ...]
    smoke: tuple[SmokeCheck, ...]
    comparison: Comparison | None
    gates: tuple[Gate, ...]
    warnings: tuple[str, ...]
    timing: Timing
    rival: Rival = "base"
    provenance: tuple[tuple[str, str], ...] = ()
    reference: Reference | None = None
    instruments: tuple[Instrument, ...] = ()
    prompt: Prompt | None = None
    humans: Humans | None = None
    verdict: Verdict = field(default_factory=lambda: Verdict(False, ("not judged",)))

    @property
    def passed(self) -> bool:
        """Whether the tuned model may go live."""
        return self.verdict.passed

    @property
    def all_gates(self) -> tuple[Gate, ...]:
        """Every gate, those on speed last."""
        return self.gates + self.timing.gates

    @property
    def rival_name(self) -> str:
        """What people call the model that this one was compared with."""
        return self.base.label if self.rival == "other" and self.base else "base"

    @property
    def errors(self) -> int:
        """Cases without a judged answer, of both models."""
        return self.tuned.errors + (self.base.errors if self.base else 0)
