"""Text metrics, by the definitions of the field and under its names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz.distance import LCSseq, Levenshtein

# Han with its extensions, kana, Hangul, Thai, Lao, Khmer, Myanmar: scripts that put no space between words.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]")
UNITS = ("auto", "char", "word")


def unit_of(reference: str, unit: str = "auto") -> str:
    """The unit, char or word: with auto, char where the reference is in a script without spaces between words."""
    if unit != "auto":
        return unit
    return "char" if _UNSPACED.search(reference) else "word"


def tokens(text: str, unit: str) -> list[str]:
    """The characters without white space, or the words between white space. Case and punctuation are kept."""
    return list("".join(text.split())) if unit == "char" else text.split()


def rouge_l(hypothesis: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L as F measure of two token lists: 2PR / (P + R), with P = LCS / |hypothesis| and R = LCS / |reference|.

    Source: Lin 2004, with beta 1 and the 1e-8 in the denominator that the `rouge` and `rouge_chinese` packages put
    there (rouge_score.py, rouge_l_summary_level), so that figures can be compared. Law: 0 <= rouge_l <= 1.
    An empty list gives 0.
    """
    if not hypothesis or not reference:
        return 0.0
    common = LCSseq.similarity(hypothesis, reference)
    precision, recall = common / len(hypothesis), common / len(reference)
    return 2.0 * precision * recall / (precision + recall + 1e-8)


def levenshtein(left: str, right: str) -> int:
    """Edits (insert, delete, replace one character) from one text to the other."""
    return Levenshtein.distance(left, right)


def repetition(items: Sequence[str], n: int) -> float:
    """The share of n-grams that were there before: 0 where none repeats, near 1 where the same few go round."""
    grams = [tuple(items[start : start + n]) for start in range(len(items) - n + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0
