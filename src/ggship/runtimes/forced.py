"""How probable llama.cpp finds words that it is given: each token of them sampled by force, its own figure read.

What `n_probs` tells is of the model before any sampler, so forcing a token with a bias does not change its figure (seen
on xllamacpp 2026.10.11549: the same to the last digit with a bias and with a grammar of tokens). Ollama has neither: it
tells probabilities of what it samples itself and at most 20 others (`top_logprobs` of 100 is an error, /v1/completions
echoes nothing; seen on 0.32.14 and 0.34.4), so words that it did not say cannot be measured there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ggship.errors import ServerError
from ggship.runtimes.model import Forced

Post = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Asks llama.cpp's server: a path and a JSON object, the answer's JSON object."""

_SURE = 1000.0
_SOME, _ALL = 256, 1 << 20


def force(post: Post, prompt: str, answer: str) -> Forced:
    """The likelihood of `answer` after the rendered prompt. ServerError where the server does not tell it."""
    before, whole = _tokens(post, prompt), _tokens(post, prompt + answer)
    start = same(before, whole)
    other = _tokens(post, "a", special=False)[-1:]
    total = sum(_token(post, whole[:at], whole[at], other) for at in range(start, len(whole)))
    return Forced(total, len(whole) - start)


def same(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with, at least 1: what stands first has nothing before it that could foretell it.

    Words may melt into the end of the prompt, and what they melt with is theirs.
    """
    at = 0
    while at < min(len(left), len(right)) and left[at] == right[at]:
        at += 1
    return max(1, at)


def _tokens(post: Post, text: str, *, special: bool = True) -> list[int]:
    told = post("/tokenize", {"content": text, "add_special": special, "parse_special": True}).get("tokens")
    if not isinstance(told, list):
        raise ServerError("llama.cpp's answer holds no tokens", where=str(told)[:200])
    return [int(token) for token in told]


def _token(post: Post, before: Sequence[int], token: int, other: Sequence[int]) -> float:
    """The logarithm of the token's probability after those before it."""
    told = _probabilities(post, before, [token], 1)
    if told is not None and told["id"] == token:
        return float(told["logprob"])
    # A part of a character is told nothing of where it is sampled, so another token is, and this one looked up.
    for count in (_SOME, _ALL):
        told = _probabilities(post, before, other, count)
        for row in told["top_logprobs"] if told else ():
            if row["id"] == token and row["logprob"] is not None:
                return float(row["logprob"])
    raise ServerError(f"llama.cpp tells no probability of the token {token}")


def _probabilities(post: Post, before: Sequence[int], wanted: Sequence[int], count: int) -> Mapping[str, Any] | None:
    told = post(
        "/completion",
        {
            "prompt": list(before),
            "n_predict": 1,
            "n_probs": count,
            "temperature": -1.0,  # greedy
            "logit_bias": [[each, _SURE] for each in wanted],
            "cache_prompt": True,
        },
    ).get("completion_probabilities")
    return told[0] if isinstance(told, list) and told else None
