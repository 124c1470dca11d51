"""How near a packaged model is to base and adapter in Transformers and PEFT: the figures, and whether they suffice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggship.evals.stats import wilson

UNROUNDED = ("F32", "F16", "BF16")
"""Precisions whose rounding decides almost nothing: there a token that differs means that something is wrong."""
BAR = 0.99


@dataclass(frozen=True, slots=True)
class TokenDifference:
    """A prompt that llama.cpp cuts into other tokens than the tokenizer of training.

    at: the first token that differs; byte: where it begins in the prompt's UTF-8. trained, served: the next tokens of
    each side, as ids with their bytes in hex ("520:617373").
    """

    case: str
    at: int
    byte: int
    trained: tuple[str, ...]
    served: tuple[str, ...]

    def __str__(self) -> str:
        sides = f"trained {' '.join(self.trained) or 'nothing'}, served {' '.join(self.served) or 'nothing'}"
        return f"{self.case}: token {self.at}, byte {self.byte}: {sides}"


@dataclass(frozen=True, slots=True)
class ReferenceCase:
    """One prompt of the suite. positions: tokens of the reference's own answer, its end included; agreed: at how many
    of them the package's most likely next token is the same, given the same tokens before.

    parted: the first position where it is not, and so where the two answers part when each goes on by itself; None
    where they are the same. kl: the divergence at each position where the whole vocabulary was compared, in nats.
    """

    id: str
    positions: int
    agreed: int
    parted: int | None
    kl: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A package held against base and adapter in Transformers and PEFT, at temperature 0, computed in 32-bit floats.

    model: the GGUF files that were asked; precision: what most of their weights are. agreement: agreed / positions,
    interval: Wilson's, 95 %. kl_mean, kl_max: over kl_positions positions, in nats; None where there are none.
    same_answers: cases whose answers are the same to the last token. prompts: the first difference of each prompt that
    llama.cpp renders otherwise than the package's template says; tokens: of each that it cuts otherwise. bar: the least
    agreement that passes, None where the figure is only told. left_out: cases that cannot be compared (tools, and what
    the template refuses). versions: of what computed them.
    """

    model: str
    precision: str
    positions: int
    agreed: int
    agreement: float
    interval: tuple[float, float]
    kl_positions: int
    kl_mean: float | None
    kl_max: float | None
    same_answers: int
    prompts: tuple[str, ...]
    tokens: tuple[TokenDifference, ...]
    bar: float | None
    left_out: tuple[str, ...]
    cases: tuple[ReferenceCase, ...]
    versions: dict[str, str]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What stands against the package; nothing where it is what was trained."""
        return shortcomings(self)

    @property
    def passed(self) -> bool:
        """Whether the package is what was trained, as far as these figures tell."""
        return not self.reasons


def bar_of(precision: str) -> float | None:
    """The least agreement for weights of that precision; None where it is only told.

    A quantized model differs by intent, and by how much depends on the model: what may be lost is for the user to say
    (--at-least), and update survival and the suite's gates tell whether the training came through.
    """
    return BAR if precision in UNROUNDED else None


def summed_up(
    cases: Sequence[ReferenceCase],
    *,
    model: str,
    precision: str,
    bar: float | None,
    prompts: Sequence[str] = (),
    tokens: Sequence[TokenDifference] = (),
    left_out: Sequence[str] = (),
    versions: dict[str, str],
) -> Reference:
    """The figures over all cases: every position counts once, so that long answers weigh more than short ones."""
    positions, agreed = sum(case.positions for case in cases), sum(case.agreed for case in cases)
    kl = [value for case in cases for value in case.kl]
    share = agreed / positions if positions else 0.0
    return Reference(
        model=model,
        precision=precision,
        positions=positions,
        agreed=agreed,
        agreement=share,
        interval=wilson(share, positions),
        kl_positions=len(kl),
        kl_mean=sum(kl) / len(kl) if kl else None,
        kl_max=max(kl, default=None),
        same_answers=sum(case.parted is None for case in cases),
        prompts=tuple(prompts),
        tokens=tuple(tokens),
        bar=bar,
        left_out=tuple(left_out),
        cases=tuple(cases),
        versions=versions,
    )


def shortcomings(found: Reference) -> tuple[str, ...]:
    """A line for each thing that does not hold."""
    reasons = []
    if found.prompts:
        names = [difference.partition(":")[0] for difference in found.prompts]
        reasons.append(f"reference: llama.cpp renders {_some(names, 'prompt')} otherwise than the template says")
    if found.tokens:
        reasons.append(
            f"reference: llama.cpp cuts {_some([each.case for each in found.tokens], 'prompt')} into other tokens than "
            "the tokenizer of training"
        )
    if not found.positions:
        reasons.append("reference: nothing was compared")
    elif found.bar is not None and found.agreement < found.bar:
        reasons.append(
            f"reference: {found.agreed} of {found.positions} tokens ({100 * found.agreement:.2f} %) are those of base "
            f"and adapter in Transformers, {100 * found.bar:g} % wanted at {found.precision}"
        )
    return tuple(reasons)


def figures(found: Reference) -> list[tuple[str, str]]:
    """(name, value) lines for people."""
    low, high = found.interval
    bar = f"at least {100 * found.bar:g} % wanted" if found.bar is not None else f"told, no bar for {found.precision}"
    parted = [case for case in found.cases if case.parted is not None]
    rows = [
        (
            "tokens",
            f"{found.agreed} of {found.positions} as base + adapter in Transformers: {100 * found.agreement:.2f} % "
            f"(95 %: {100 * low:.1f} to {100 * high:.1f} %; {bar})",
        ),
        (
            "answers",
            f"{found.same_answers} of {len(found.cases)} the same to the last token"
            + (f"; parted: {', '.join(f'{case.id} at token {case.parted}' for case in parted[:5])}" if parted else "")
            + (f" and {len(parted) - 5} more" if len(parted) > 5 else ""),
        ),
    ]
    if found.kl_mean is not None and found.kl_max is not None:
        rows.append(
            (
                "divergence",
                f"KL {found.kl_mean:.3g} nats on average, {found.kl_max:.3g} at most, over the whole vocabulary at "
                f"{found.kl_positions} positions",
            )
        )
    if not found.tokens and not found.prompts:
        rows.append(("prompts", f"all {len(found.cases)} rendered and cut into tokens as in training"))
    if found.left_out:
        rows.append(("left out", f"{_some(found.left_out, 'prompt')}: with tools, or refused by the template"))
    rows += [("prompt", f"rendered otherwise: {name}") for name in found.prompts[:5]]
    rows += [("token", str(each)) for each in found.tokens[:5]]
    return rows


def _some(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''} ({', '.join(names[:3])}{', ...' if names[3:] else ''})"
