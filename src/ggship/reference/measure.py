"""The comparison itself: the reference answers each prompt of the suite, and the package is asked along its answers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.errors import Refused
from ggship.evals.reference import UNROUNDED, Reference, ReferenceCase, TokenDifference, bar_of, summed_up
from ggship.evals.suite import Case, Suite
from ggship.needs import Need, require_room
from ggship.package import PackageInfo
from ggship.progress import Progress
from ggship.prompts.bos import file_adds_bos
from ggship.prompts.chat import ChatTemplate, TemplateRefused
from ggship.prompts.parity import prove_prompts
from ggship.prompts.probes import Probe
from ggship.prompts.thinking import SWITCH
from ggship.prompts.tokens import special_tokens
from ggship.prompts.trial import check_template_once
from ggship.reference.materials import Materials
from ggship.reference.served import LEAST, Piece, Served
from ggship.reference.spread import spread
from ggship.reference.trained import Expected, Trained
from ggship.releases.opened import asks_to_think
from ggship.runtimes.model import Message

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is compared. cases: at most so many of the suite, evenly over it (None: all); tokens: at most so many
    of each answer; whole: at how many of these the whole vocabulary, which takes half a second each.
    """

    cases: int | None = None
    tokens: int = 32
    whole: int = 4


@dataclass(frozen=True, slots=True)
class _Asked:
    """A case with its prompt as the template renders it, and what the reference made of it."""

    case: Case
    messages: list[Message]
    expected: Expected


def measure(
    info: PackageInfo,
    materials: Materials,
    suite: Suite,
    *,
    extent: Extent,
    progress: Progress,
    at_least: float | None = None,
) -> Reference:
    """Hold the package against base + adapter. at_least: the share of tokens that must agree, instead of `bar_of`.

    First the reference answers every prompt, greedily; then, when its memory is free again, llama.cpp is asked for the
    next token after each token of that answer. Memory: of the larger of the two models, the reference with 4 bytes a
    weight. Raises MissingExtra, Refused, NoRoom, ToolFailed, ServerError or BadFile where there is no comparison.
    """
    spec = materials.served
    assert spec.model is not None
    chat = _chat(info, materials)
    cases, left_out = comparable(suite.cases, chat, spec.system)
    cases = [cases[at] for at in spread(len(cases), len(cases) if extent.cases is None else extent.cases)]
    _require_room(materials, len(cases) * extent.whole)
    bos = file_adds_bos(spec.model)
    with _trained(materials, info) as trained:
        versions = dict(trained.versions)
        asked = list(_answers(trained, cases, chat, spec.system, bos, extent, progress))
        trained.end()
        context = max(len(each.expected.ids) + len(each.expected.answer) for each in asked) + 8
        served = Served(spec.model, spec.adapter, spec.jinja, context, think=asks_to_think(info))
        try:
            found = list(_compared(served, asked, progress))
            prompts = _prompts(served, asked, chat, bos)
            tokens = [each for one in asked for each in _cut(served, one)]
        finally:
            served.close()
    precision = precision_of(spec.model)
    return summed_up(
        found,
        model=" + ".join(path.name for path in (spec.model, spec.adapter) if path is not None),
        precision=precision,
        bar=bar_of(precision) if at_least is None else at_least,
        prompts=prompts,
        tokens=tokens,
        left_out=left_out,
        versions={**versions, "llama.cpp": _llama_cpp()},
    )


def precision_of(model: Path) -> str:
    """What most of the weights are: "F16"; where a part of them is quantized all the same, that too: "F16 and Q8_0"."""
    from ggship.bases.from_gguf import base_from_gguf

    base = base_from_gguf(model)
    kinds = {tensor.type for tensor in base.tensors.values() if len(tensor.shape) > 1}
    quantized = sorted(kinds - {*UNROUNDED, "F64"})
    return " and ".join([base.file_type, *quantized]) if quantized and not base.quantized else base.file_type


def divergence(trained: NDArray[np.floating[Any]], served: NDArray[np.floating[Any]]) -> float:
    """Kullback-Leibler divergence of the served distribution from the trained one, in nats: sum of p (log p - log q).

    Both are log-probabilities [vocabulary], made to add up to one in 64-bit floats first. Law: never below 0, up to
    rounding; 0 where both are the same.
    """
    import numpy as np

    p, q = (row.astype(np.float64) for row in (trained, served))
    p, q = (row - np.logaddexp.reduce(row) for row in (np.maximum(p, LEAST), q))
    return max(0.0, float(np.sum(np.exp(p) * (p - q))))


def _chat(info: PackageInfo, materials: Materials) -> ChatTemplate:
    """The package's own template. Raises Refused where it has none: then no prompt is known."""
    text = info.document["prompt"].get("jinja")
    if not text:
        raise Refused(
            "the package knows no chat template, so there is no prompt to compare with",
            where=f"{info.path}/ggship.json: prompt.jinja",
            hint=f"make it again with --template: ggship package RUN --name {info.name}",
        )
    tokens = special_tokens(materials.run, materials.base)
    switch = {SWITCH: asks_to_think(info)}  # as whoever asks the package sends it
    chat = ChatTemplate(str(text), tokens.bos, tokens.eos, source="the package's chat template", arguments=switch)
    check_template_once(chat)
    return chat


def comparable(cases: Sequence[Case], chat: ChatTemplate, system: str | None) -> tuple[list[Case], tuple[str, ...]]:
    """The cases that can be compared, and the ids of the others: tools, and what the template itself refuses.

    llama.cpp writes tools into a prompt in a way of its own, around the template. Raises Refused where none is left.
    """
    left: list[Case] = []
    out: list[str] = []
    for case in cases:
        fit = not case.options.tools and all(turn.keys() == {"role", "content"} for turn in case.messages)
        try:
            chat.render(with_system(case.messages, system))
        except TemplateRefused:
            fit = False
        if fit:
            left.append(case)
        else:
            out.append(case.id)
    if not left:
        raise Refused(
            "there is no prompt to compare with: all of them offer tools, or are refused by the chat template",
            where=", ".join(out[:5]),
            hint="name other prompts: --suite FILE",
        )
    return left, tuple(out)


def _require_room(materials: Materials, rows: int) -> None:
    from ggship.bases.from_gguf import base_from_gguf
    from ggship.convert.peft import peft_needs

    assert materials.served.model is not None
    tensors = base_from_gguf(materials.served.model).tensors.values()
    width = max((tensor.shape[0] for tensor in tensors if len(tensor.shape) > 1), default=0)
    disk = Need("distributions of the reference", rows * width * 4, Path(tempfile.gettempdir()))
    require_room([disk], memory=peft_needs(materials.run, materials.weights).memory, hint="compare less: --limit 8")


@contextmanager
def _trained(materials: Materials, info: PackageInfo) -> Iterator[Trained]:
    trained = Trained(materials.run, materials.weights, info.document["prompt"].get("stops", ()))
    try:
        yield trained
    finally:
        trained.close()


def _answers(
    trained: Trained, cases: Sequence[Case], chat: ChatTemplate, system: str | None, bos: bool, extent: Extent,
    progress: Progress,
) -> Iterator[_Asked]:  # fmt: skip
    progress.start("Asking base + adapter in Transformers", len(cases), "answers")
    for case in cases:
        messages = with_system(case.messages, system)
        expected = trained.ask(chat.render(messages), bos=bos, tokens=extent.tokens, whole=extent.whole)
        progress.advance()
        yield _Asked(case, messages, expected)
    progress.done(f"{len(cases)} answers")


def _compared(served: Served, asked: Sequence[_Asked], progress: Progress) -> Iterator[ReferenceCase]:
    """Each answer, token by token: what llama.cpp holds to be next after the same tokens."""
    total = sum(len(each.expected.answer) for each in asked)
    progress.start("Asking the package in llama.cpp", total, "tokens")
    agreed = 0
    for each in asked:
        expected = each.expected
        rows = dict(zip(expected.whole, expected.distributions(), strict=True))
        apart, kl = [], []
        for at, token in enumerate(expected.answer):
            given = [*expected.ids, *expected.answer[:at]]
            if at in rows:
                row = served.distribution(given, len(rows[at]))
                kl.append(divergence(rows[at], row))
                found = int(row.argmax())
            else:
                found = served.likeliest(given)
            apart += [at] if found != token else []
            progress.advance()
        agreed += len(expected.answer) - len(apart)
        count = len(expected.answer)
        yield ReferenceCase(each.case.id, count, count - len(apart), apart[0] if apart else None, tuple(kl))
    progress.done(f"{agreed} of {total} tokens agree")


def _prompts(served: Served, asked: Sequence[_Asked], chat: ChatTemplate, bos: bool) -> tuple[str, ...]:
    """The first difference of each case that llama.cpp renders otherwise."""
    probes = [Probe(each.case.id, tuple((m["role"], m["content"]) for m in each.messages)) for each in asked]
    proof = prove_prompts(chat, served.render, adds_bos=bos, probes=probes)
    return tuple(str(each) for each in proof.differences)


def _cut(served: Served, asked: _Asked) -> Iterator[TokenDifference]:
    """Where llama.cpp cuts the prompt into other tokens than the reference was given."""
    trained = [Piece(*each) for each in zip(asked.expected.ids, asked.expected.pieces, strict=True)]
    found = served.tokens(served.render(asked.messages))
    if [each.id for each in trained] == [each.id for each in found]:
        return
    shorter = min(len(trained), len(found))
    at = next((at for at in range(shorter) if trained[at].id != found[at].id), shorter)
    yield TokenDifference(
        asked.case.id,
        at,
        sum(len(each.bytes) for each in found[:at]),
        tuple(map(str, trained[at : at + _SHOWN])),
        tuple(map(str, found[at : at + _SHOWN])),
    )


def with_system(messages: Sequence[Message], system: str | None) -> list[Message]:
    """The conversation, with the model's own system prompt where it brings none."""
    whole = list(messages)
    if system and not (whole and whole[0]["role"] == "system"):
        whole.insert(0, Message(role="system", content=system))
    return whole


def _llama_cpp() -> str:
    from ggship.runtimes.embedded import embedded_version

    return f"xllamacpp {embedded_version()}"
