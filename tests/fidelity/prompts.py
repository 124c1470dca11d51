"""What the models are asked, and how two of them are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# The longest is longer than the sliding windows of gemma2 and gemma3.
LENGTHS = (1, 5, 12, 40)
TRAINED_TOKENS = (3, 7, 250)  # what options that train single tokens train: every longer prompt has them


def _prompt(length: int) -> tuple[int, ...]:
    tokens = np.random.default_rng(length).integers(0, 256, length)
    if length > len(TRAINED_TOKENS):
        tokens[1 : 1 + len(TRAINED_TOKENS)] = TRAINED_TOKENS
    return tuple(int(token) for token in tokens)


PROMPTS = tuple(_prompt(length) for length in LENGTHS)


@dataclass(frozen=True)
class Difference:
    """Between two distributions of the next token, the worst of the prompts.

    largest: of a log-probability, in nats. kl: Kullback-Leibler divergence from the first to the second, in nats.
    """

    largest: float
    kl: float


def compare(expected: np.ndarray, found: np.ndarray) -> Difference:
    """Both are log-probabilities, float [prompts, vocabulary]."""
    assert expected.shape == found.shape
    expected, found = _normal(expected), _normal(found)
    divergence = np.sum(np.exp(expected) * (expected - found), axis=1)
    return Difference(float(np.abs(expected - found).max()), float(divergence.max()))


def _normal(rows: np.ndarray) -> np.ndarray:
    """Probabilities that add up to one, closer than float32 comes."""
    return rows - np.log(np.sum(np.exp(rows), axis=1, keepdims=True))


def reference(model: Any) -> np.ndarray:
    """The next token's log-probabilities in transformers (and PEFT), float64 [prompts, vocabulary]."""
    import torch

    model.eval()
    rows = []
    with torch.no_grad():
        for prompt in PROMPTS:
            logits = model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, -1]
            rows.append(torch.log_softmax(logits.double(), dim=-1).numpy())
    return np.stack(rows)
