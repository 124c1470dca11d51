"""The package in llama.cpp: how it cuts a prompt into tokens, and what it holds to be the next one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.errors import BadFile, MissingExtra, ServerError
from ggship.prompts.thinking import SWITCH
from ggship.runtimes.embedded import embedded_version, threads
from ggship.runtimes.embedded_process import Child, Load
from ggship.runtimes.model import Message

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST = -103.3
"""Natural logarithm of the smallest positive float32: llama.cpp gives -3.4e38 for a probability that is 0 in one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A token with the bytes that it stands for."""

    id: int
    bytes: bytes

    def __str__(self) -> str:
        return f"{self.id}:{self.bytes.hex()}"


class Served:
    """A model in a llama.cpp of its own. context: tokens of prompt and answer together. think: what prompts say."""

    def __init__(self, model: Path, adapter: Path | None, jinja: str | None, context: int, *, think: bool) -> None:
        if not embedded_version():
            raise MissingExtra("embedded", needed_for="asking the package without a server")
        self._think = think
        self._child = Child(Load(model, adapter, jinja, context), threads=threads(os.environ))
        # llama.cpp tells no probabilities where the token that it samples is a part of a character only. So it samples
        # this one always, which changes nothing of them: they are those of the model, before any sampler.
        self._sampled = [int(token) for token in self._post("/tokenize", {"content": "a"}).get("tokens") or ()][-1:]

    def tokens(self, prompt: str) -> list[Piece]:
        """How llama.cpp cuts a rendered prompt, with BOS in front where the model wants it."""
        asked = {"content": prompt, "add_special": True, "parse_special": True, "with_pieces": True}
        found = self._post("/tokenize", asked).get("tokens")
        if not isinstance(found, list):
            raise ServerError("llama.cpp's answer holds no tokens", where=str(found)[:200])
        return [Piece(int(each["id"]), _bytes(each["piece"])) for each in found]

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt that llama.cpp makes of these messages, as the embedded runtime asks for it."""
        asked = {"messages": list(messages), "chat_template_kwargs": {SWITCH: self._think}}
        prompt = self._post("/apply-template", asked).get("prompt")
        if not isinstance(prompt, str):
            raise ServerError("llama.cpp's answer holds no prompt", where=str(prompt)[:200])
        return prompt

    def likeliest(self, tokens: Sequence[int]) -> int:
        """The most likely token after these."""
        return int(self._next(tokens, 1)[0]["id"])

    def distribution(self, tokens: Sequence[int], vocabulary: int) -> NDArray[np.float64]:
        """Log-probabilities of the whole vocabulary after these tokens, in nats.

        Raises BadFile where llama.cpp leaves a token out, or its number is none.
        """
        import numpy as np

        row = np.full(vocabulary, np.nan)
        for each in self._next(tokens, vocabulary):
            if each["id"] < vocabulary and each["logprob"] is not None:
                row[each["id"]] = each["logprob"]
        if not np.isfinite(row).all():
            left = int(np.count_nonzero(~np.isfinite(row)))
            raise BadFile(
                f"llama.cpp knows no probability of {left} of {vocabulary} tokens",
                where="the packaged model computes NaN, or has fewer tokens than the trained one",
                hint="make the package again, from the base that training used",
            )
        floored: NDArray[np.float64] = np.maximum(row, LEAST)
        return floored

    def close(self) -> None:
        """End it."""
        self._child.close()

    def _next(self, tokens: Sequence[int], count: int) -> list[Mapping[str, Any]]:
        """The most likely next tokens, likeliest first. What went before is kept from question to question."""
        body = {
            "prompt": list(tokens),
            "n_predict": 1,
            "n_probs": count,
            "temperature": -1.0,  # greedy
            "logit_bias": [[token, 1000.0] for token in self._sampled],
            "cache_prompt": True,
        }
        found = self._post("/completion", body).get("completion_probabilities")
        rows = found[0].get("top_logprobs") if isinstance(found, list) and found else None
        if not rows:
            raise ServerError("llama.cpp's answer holds no probabilities", where=str(found)[:200])
        return list(rows)

    def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._child.watched() as http:
            reply = http.request("POST", path, json=dict(body))
        if not reply.ok:
            raise ServerError("llama.cpp refuses the question", where=reply.text()[:600], status=reply.status)
        answer = reply.json()
        return answer if isinstance(answer, dict) else {}


def _bytes(piece: Any) -> bytes:
    """A piece is a text, or a list of bytes where it is no whole one."""
    return piece.encode() if isinstance(piece, str) else bytes(piece)
