"""The proof by tokens: what the server's own tokenizer makes of a prompt is what training made of it, BOS included."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ggship.prompts.chat import ChatTemplate, TemplateRefused
from ggship.prompts.parity import with_system
from ggship.prompts.probes import PROBES, Probe
from ggship.runtimes.model import Message, PromptTokens

Ask = Callable[[Sequence[Message], str], "PromptTokens | None"]
"""What a server counts when it is asked (Endpoint.prompt_tokens); None where it cannot tell."""

TOKEN_PROBES: tuple[Probe, ...] = tuple(
    probe for probe in PROBES if probe.name in ("single turn", "several turns with system", "Chinese", "emoji")
)
"""A few suffice, and each is read by the model itself: texts that agree are cut by one tokenizer."""


@dataclass(frozen=True, slots=True)
class TrainingTokens:
    """What is known of the tokenizer of training. added: ids of the tokens that are never split, by their text.

    encode: the ids of a text, nothing added; None where the tokenizer cannot be run here.
    """

    added: Mapping[str, int] = field(default_factory=dict)
    encode: Callable[[str], Sequence[int]] | None = None

    def specials(self, text: str) -> list[int]:
        """The ids of the added tokens in a text, in order."""
        if not self.added:
            return []
        names = sorted(self.added, key=len, reverse=True)
        return [self.added[found.group()] for found in re.finditer("|".join(map(re.escape, names)), text)]


@dataclass(frozen=True, slots=True)
class TokenProof:
    """What the comparison gave: how many probes were compared and are equal, by what, and each difference in words.

    by: "ids" (all of them), "special tokens" (their ids, and the number of all), "number"; "" where the server
    cannot tell.
    """

    probes: int
    equal: int
    by: str
    differences: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing that was compared differs; true too where the server cannot tell."""
        return not self.differences

    def document(self) -> dict[str, Any]:
        """As it stands in ggship.json."""
        return {"probes": self.probes, "equal": self.equal, "by": self.by, "differences": list(self.differences)}


def prove_tokens(
    chat: ChatTemplate,
    ask: Ask,
    tokens: TrainingTokens,
    *,
    system: str | None = None,
    adds_bos: bool | None = None,
    probes: Sequence[Probe] = TOKEN_PROBES,
) -> TokenProof:
    """Compare by tokens what `prove_prompts` compares as text: a second BOS and a special token in pieces show here.

    adds_bos: whether the server puts BOS in front (`server_adds_bos`); the text is then sent without.
    """
    differences: list[str] = []
    compared = 0
    by = "ids" if tokens.encode else "special tokens" if tokens.added else "number"
    for probe in probes:
        try:
            expected = chat.render(with_system(probe.messages, system))
        except TemplateRefused:
            continue
        sent = expected.removeprefix(chat.bos_token or "") if adds_bos else expected
        told = ask(probe.messages, sent)
        if told is None:
            return TokenProof(compared, compared - len(differences), by if compared else "", tuple(differences))
        compared += 1
        wrong = _wrong(tokens, told, sent, 1 if adds_bos else 0)
        if wrong:
            differences.append(f"{probe.name}: {wrong}")
        if told.ids is None and by != "number":
            by = "number"
    return TokenProof(compared, compared - len(differences), by, tuple(differences))


def _wrong(tokens: TrainingTokens, told: PromptTokens, sent: str, in_front: int) -> str:
    """What differs, in words; "" where nothing does."""
    if told.asked != told.alone:
        more = told.asked - told.alone
        twice = ", as with a BOS that is there twice" if more == 1 else ""
        return f"asked, the server counts {told.asked} tokens; the prompt of training makes {told.alone}{twice}"
    if told.ids is None:
        return ""
    if tokens.encode:
        ours = list(tokens.encode(sent))
        if told.asked != len(ours) + in_front:
            return f"the server counts {told.asked} tokens; training's tokenizer makes {len(ours) + in_front}"
        # What was answered stands behind, and may have grown into the last token.
        at = next((at for at, one in enumerate(ours[:-1]) if told.ids[at : at + 1] != (one,)), None)
        return "" if at is None else f"token {at}: training has id {ours[at]}, the server {_at(told.ids, at)}"
    known = set(tokens.added.values())
    ours, theirs = tokens.specials(sent), [one for one in told.ids if one in known]
    if theirs[: len(ours)] == ours:
        return ""
    at = next((at for at, one in enumerate(ours) if theirs[at : at + 1] != [one]), 0)
    name = next(text for text, one in tokens.added.items() if one == ours[at])
    return f"the special token {name} (id {ours[at]}) is split, or is another: the server has {_at(theirs, at)}"


def _at(ids: Sequence[int], at: int) -> str:
    return str(ids[at]) if at < len(ids) else "none"
