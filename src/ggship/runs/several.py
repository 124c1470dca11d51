"""The runs that a user names, `RUN` or `RUN@0.7`, read as one run."""

from __future__ import annotations

import filecmp
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ggship.errors import BaseMismatch, PromptMismatch, UsageError
from ggship.runs.blend import blend
from ggship.runs.model import Run, Share
from ggship.runs.reading import read_run
from ggship.runs.training import RecordedPrompt


@dataclass(frozen=True, slots=True)
class RunRef:
    """A run as the user named it. weight: what all of its update is multiplied by; finite, and not 0."""

    path: Path
    weight: float = 1.0


def parse_run_ref(text: str) -> RunRef:
    """RUN, or RUN@WEIGHT.

    A path that is there is meant as it stands, with the @ in its name. Raises UsageError where what follows the @ is no
    weight, and where both readings are there.
    """
    name, at, after = text.rpartition("@")
    path = Path(text).expanduser()
    if not at or not name or "/" in after:
        return RunRef(path)
    before = Path(name).expanduser()
    if path.exists():
        if before.exists() and _number(after) is not None:
            raise UsageError(
                f"{text} can mean two things: that directory, or {name} with weight {after}",
                where=f"both {path} and {before} are there",
                hint=f"write {text}@1 for the directory, {name.rstrip('/')}/@{after} for the weight",
            )
        return RunRef(path)
    if not before.exists() and _number(after) is None:
        return RunRef(path)  # `there is no such directory` says more than a word on weights
    return RunRef(before, _weight(after, text))


def parse_scale(scale: float) -> float:
    """What --scale says. Raises UsageError unless it is a finite number other than 0."""
    where = f"--scale {scale:g}"
    if scale == 0.0:
        raise UsageError(
            "a scale of 0 leaves nothing of what was trained", where=where, hint="--scale 0.7, for example"
        )
    if not math.isfinite(scale):
        raise UsageError("a scale must be a finite number", where=where, hint="--scale 0.7, for example")
    return scale


def read_runs(
    refs: Sequence[RunRef],
    *,
    scale: float = 1.0,
    checkpoint: str | None = None,
    allow_pickle: bool = False,
    base_named: bool = False,
    template_named: bool = False,
) -> Run:
    """The run, or the blend of them all (runs/blend.py).

    scale: multiplies every weight. base_named, template_named: whether the user names the base, or the chat template,
    so that it no longer matters that the runs name different ones. Raises as `read_run` does; UsageError where one
    adapter is there twice; BaseMismatch and PromptMismatch where base or template would be a guess.
    """
    parse_scale(scale)
    shares = [
        Share(read_run(ref.path, checkpoint=checkpoint, allow_pickle=allow_pickle), ref.weight * scale) for ref in refs
    ]
    for share, ref in zip(shares, refs, strict=True):
        _weight(str(share.weight), f"{ref.path}: {ref.weight:g} times {scale:g}")
    _refuse_twice(shares)
    if not base_named:
        _refuse_other_bases(shares)
    if not template_named:
        _refuse_other_templates(shares)
    _refuse_same_bytes(shares)
    return blend(shares)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _weight(text: str, where: str) -> float:
    weight = _number(text)
    if weight is None:
        raise UsageError(f"{text!r} is no weight", where=where, hint="RUN@0.7, for example; a negative one takes away")
    if not math.isfinite(weight):
        raise UsageError("a weight must be a finite number", where=where, hint="RUN@0.7, for example")
    if weight == 0.0:
        raise UsageError("a weight of 0 leaves nothing of what was trained", where=where, hint="leave it out")
    return weight


def _refuse_twice(shares: Sequence[Share]) -> None:
    seen: dict[Path, Share] = {}
    for share in shares:
        first = seen.setdefault(share.run.path.resolve(), share)
        if first is not share:
            both = first.weight + share.weight
            raise UsageError(
                "the same adapter is named twice",
                where=f"{share.run.path}, {share.run.chosen}",
                hint=f"once, with the weight of both, is the same: {share.run.root}@{both:g}"
                if both
                else "together they come to nothing",
            )


def _refuse_same_bytes(shares: Sequence[Share]) -> None:
    for number, share in enumerate(shares):
        for other in shares[:number]:
            if _same_bytes(other.run, share.run):
                raise UsageError(
                    "two of the runs are one adapter, byte for byte: its update would count twice",
                    where=f"{other.run.path}\n{share.run.path}",
                    hint="name it once, with the weight of both: RUN@2 doubles an update",
                )


def _same_bytes(one: Run, other: Run) -> bool:
    """Whether both have the same tensors: a run and its own last checkpoint, or a copy."""
    files, others = one.tensor_files, other.tensor_files
    if len(files) != len(others) or one.tensors.keys() != other.tensors.keys():
        return False
    return all(filecmp.cmp(ours, theirs, shallow=False) for ours, theirs in zip(files, others, strict=True))


def _refuse_other_bases(shares: Sequence[Share]) -> None:
    from ggship.bases.likeness import likeness
    from ggship.bases.portable import portable

    first = shares[0].run
    for other in (share.run for share in shares[1:]):
        one, two = first.base_named, other.base_named
        if one and two and (likeness(one, two) < 1.0 or likeness(two, one) < 1.0) and portable(one) != portable(two):
            raise BaseMismatch(
                "the runs name different bases",
                where=f"{first.label}: {portable(one, hub=True)}\n{other.label}: {portable(two, hub=True)}",
                hint="only adapters of one base can be added up; where both names mean one, say so with --base REF",
                rule="GS412",
            )


def _refuse_other_templates(shares: Sequence[Share]) -> None:
    having = [share.run for share in shares if share.run.chat_template]
    for other in having[1:]:
        if other.chat_template != having[0].chat_template:
            raise _other_prompts([(run, run.chat_template_source) for run in (having[0], other)])
    recorded = [(share.run, prompt) for share in shares if (prompt := share.run.training.template)]
    for run, prompt in recorded[1:]:
        if _another_way(recorded[0][1], prompt):
            raise _other_prompts([(one, _words(said)) for one, said in (recorded[0], (run, prompt))])


def _another_way(one: RecordedPrompt, two: RecordedPrompt) -> bool:
    """Whether two trainers cannot have made the same prompt.

    A trainer's own template stands in the tokenizer that it saves, so one beside a chat template says nothing here.
    """
    chat = ("tokenizer", "jinja")
    if one.kind in chat and two.kind in chat:
        return False
    if one.kind != two.kind and {one.kind, two.kind} <= {*chat, "template"}:
        return False
    return (one.kind, one.name, one.text, one.parts) != (two.kind, two.name, two.text, two.parts)


def _words(prompt: RecordedPrompt) -> str:
    return f"{prompt.kind} {prompt.name}".rstrip() + f" ({prompt.source})"


def _other_prompts(said: Sequence[tuple[Run, str]]) -> PromptMismatch:
    return PromptMismatch(
        "the runs were trained on different prompts",
        where="\n".join(f"{run.label}: {words}" for run, words in said),
        hint="one model is asked with one prompt: say which with --template FILE",
        rule="GS413",
    )
