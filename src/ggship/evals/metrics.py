"""Text metrics, by the definitions of the field and under its names."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ggship.errors import MissingExtra

# Han with its extensions, kana, Hangul, Thai, Lao, Khmer, Myanmar: scripts that put no space between words.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
UNITS = ("auto", "char", "word", "jieba")
# Where rouge_chinese ends a sentence (rouge.py, cut_sent): behind a mark, unless a quote or another mark follows.
_SENTENCES = tuple(
    re.compile(pattern)
    for pattern in (r"([。！？?])([^”’])", r"(\.{6})([^”’])", r"(…{2})([^”’])", r"([。！？?][”’])([^，。！？?])")
)


def unit_of(reference: str, unit: str = "auto") -> str:
    """The unit: with auto, char where the reference is in a script without spaces between words, else word."""
    if unit != "auto":
        return unit
    return "char" if _unspaced().search(reference) else "word"


@functools.cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{UNSPACED}]")  # takes milliseconds, and most suites never ask


def tokens(text: str, unit: str) -> list[str]:
    """The characters without white space, the words between white space, or the words that jieba cuts Chinese into.

    Case and punctuation are kept. With jieba, white space stands for itself, as the trainers have it.
    """
    if unit == "jieba":
        return _jieba(text)
    return list("".join(text.split())) if unit == "char" else text.split()


def rouge_tokens(text: str, unit: str) -> list[str]:
    """What `rouge_chinese` counts, given the tokens joined by spaces: ChatGLM3's demo and LLaMA-Factory ask it so.

    It parts tokens where a sentence ends within one, and a blank line is a token too.
    """
    joined = " ".join(tokens(text, unit))
    for sentence in _SENTENCES:
        joined = sentence.sub(r"\1\n\2", joined)
    return [token for line in joined.rstrip().split("\n") if line for token in line.split() or [""]]


def bleu_tokens(text: str, unit: str) -> list[str]:
    """What BLEU counts: as `tokens`, but by char white space counts too, as LLaMA-Factory has it."""
    return list(text) if unit == "char" else tokens(text, unit)


def _jieba(text: str) -> list[str]:
    try:
        import rjieba
    except ImportError as error:
        raise MissingExtra("zh", needed_for="cutting Chinese into words (unit: jieba)") from error
    return list(rjieba.cut(text))


def rouge_n(hypothesis: Sequence[str], reference: Sequence[str], n: int) -> float:
    """ROUGE-N as F measure, over the different n-grams of each side, as `rouge_chinese` has it (rouge_score.py)."""
    ours, theirs = set(_grams(hypothesis, n)), set(_grams(reference, n))
    common = len(ours & theirs)
    return _f_measure(common, len(ours), len(theirs))


def rouge_l(hypothesis: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L as F measure of two token lists: 2PR / (P + R), with P = LCS / |hypothesis| and R = LCS / |reference|.

    Source: Lin 2004, with beta 1 and the 1e-8 in the denominator that the `rouge` and `rouge_chinese` packages put
    there (rouge_score.py, rouge_l_summary_level), so that figures can be compared. Law: 0 <= rouge_l <= 1.
    An empty list gives 0.
    """
    from rapidfuzz.distance import LCSseq

    return _f_measure(LCSseq.similarity(hypothesis, reference), len(hypothesis), len(reference))


def _f_measure(common: int, ours: int, theirs: int) -> float:
    if not ours or not theirs:
        return 0.0
    precision, recall = common / ours, common / theirs
    return 2.0 * precision * recall / (precision + recall + 1e-8)


def bleu(hypothesis: Sequence[str], reference: Sequence[str], most: int = 4) -> float:
    """BLEU-4 of one sentence against one reference: NLTK's `sentence_bleu` with its smoothing method 3, 0..1.

    Source: Papineni 2002, Chen and Cherry 2014 (NIST's smoothing: each order without a match counts half of the one
    before). ChatGLM3's finetune_demo takes it of words, LLaMA-Factory of characters, times 100.
    """
    logs, halvings = 0.0, 0
    for n in range(1, most + 1):
        theirs = Counter(_grams(reference, n))
        ours = Counter(filter(theirs.__contains__, _grams(hypothesis, n)))
        common = sum(min(count, theirs[gram]) for gram, count in ours.items())
        total = max(1, len(hypothesis) - n + 1)
        if not common:
            if n == 1:
                return 0.0
            halvings += 1
        share = common / total if common else 1 / (2**halvings * total)
        logs += math.log(share) / most
    short = len(hypothesis) <= len(reference)
    return (math.exp(1 - len(reference) / len(hypothesis)) if short else 1.0) * math.exp(logs)


def chrf(hypothesis: str, reference: str, order: int = 6, beta: float = 2.0) -> float:
    """ChrF, 0..1: the F2 of character n-grams up to 6, white space left out, as sacrebleu computes it for a sentence.

    Source: Popović 2015; sacrebleu's metrics/chrf.py (`CHRF()`, without word n-grams, no smoothing). An order that one
    side is too short for does not count.
    """
    ours, theirs = "".join(hypothesis.split()), "".join(reference.split())
    precision = recall = 0.0
    orders = min(order, len(ours), len(theirs))
    for n in range(1, orders + 1):
        wanted = Counter(_pieces(theirs, n))
        found = Counter(filter(wanted.__contains__, _pieces(ours, n)))
        common = sum(min(count, wanted[piece]) for piece, count in found.items())
        precision += common / (len(ours) - n + 1) / orders
        recall += common / (len(theirs) - n + 1) / orders
    if not precision + recall:
        return 0.0
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def levenshtein(left: str, right: str) -> int:
    """Edits (insert, delete, replace one character) from one text to the other."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(left, right)


def repetition(items: Sequence[str], n: int) -> float:
    """The share of n-grams that were there before: 0 where none repeats, near 1 where the same few go round."""
    grams = list(_grams(items, n))
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def _grams(items: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(items[start:] for start in range(n)))  # noqa: B905  (the shortest says where it ends)


def _pieces(text: str, n: int) -> Iterator[str]:
    return (text[start : start + n] for start in range(len(text) - n + 1))
