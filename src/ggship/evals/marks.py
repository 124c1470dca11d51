"""Text as it is shown to people: what cannot be seen made visible, and where two answers differ marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from rapidfuzz.distance import LCSseq

from ggship.evals.metrics import UNSPACED
from ggship.evals.odd import ODD, escape_odd, visible

__all__ = ["Piece", "Shown", "escape_odd", "show", "side_by_side", "visible"]

SHOWN_CHARACTERS = 20_000
FEWEST_PIECES, LEAST_PIECE = 40, 10  # every other character odd, say: each takes a hundred bytes of a page
COMPARED_TOKENS = 4_000  # the table of the comparison grows with the square
UNLIKE = 0.25  # below this share of common tokens marks would only be noise

_TOKENS = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|\s+|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text. only: the other answer lacks it. odd: for how many that cannot be seen it stands."""

    text: str
    only: bool = False
    odd: int = 0

    @property
    def length(self) -> int:
        """In characters of what the model said."""
        return self.odd or len(self.text)


@dataclass(frozen=True, slots=True)
class Shown:
    """A text in pieces; left_out: how many characters at its end are not shown."""

    pieces: tuple[Piece, ...]
    left_out: int = 0


def show(text: str, limit: int = SHOWN_CHARACTERS) -> Shown:
    """The text in pieces, cut after `limit` characters, or a tenth as many pieces: nobody reads on."""
    return _shown(_pieces(text[:limit]), text, limit)


def side_by_side(left: str, right: str, limit: int = SHOWN_CHARACTERS) -> tuple[Shown, Shown]:
    """Both texts in pieces, with what the other lacks marked; unmarked where they have too little in common."""
    pair = left[:limit], right[:limit]
    first, second = (_TOKENS.findall(text) for text in pair)
    if pair[0] == pair[1] or max(len(first), len(second)) > COMPARED_TOKENS:
        return show(left, limit), show(right, limit)
    kept_left, kept_right = [False] * len(first), [False] * len(second)
    for block in LCSseq.opcodes(first, second):
        if block.tag == "equal":
            kept_left[block.src_start : block.src_end] = [True] * (block.src_end - block.src_start)
            kept_right[block.dest_start : block.dest_end] = [True] * (block.dest_end - block.dest_start)
    words = sum(not token.isspace() for token in (*first, *second))
    common = 2 * sum(kept and not token.isspace() for kept, token in zip(kept_left, first, strict=True))
    if not words or common / words < UNLIKE:
        return show(left, limit), show(right, limit)
    return _shown(_marked(first, kept_left), left, limit), _shown(_marked(second, kept_right), right, limit)


def _shown(pieces: Iterator[Piece], text: str, limit: int) -> Shown:
    kept = tuple(islice(pieces, max(FEWEST_PIECES, limit // LEAST_PIECE)))
    return Shown(kept, len(text) - sum(piece.length for piece in kept))


def _marked(tokens: Sequence[str], kept: Sequence[bool]) -> Iterator[Piece]:
    run, only = "", False
    last = len(tokens) - 1
    for number, token in enumerate(tokens):
        own = not kept[number]
        if token.isspace():  # marked with the words on both sides or not at all: one mark reads better than two
            own = 0 < number < last and not kept[number - 1] and not kept[number + 1]
        if own != only and run:
            yield from _pieces(run, only)
            run = ""
        run, only = run + token, own
    yield from _pieces(run, only)


def _pieces(text: str, only: bool = False) -> Iterator[Piece]:
    end = 0
    for match in ODD.finditer(text):
        if match.start() > end:
            yield Piece(text[end : match.start()], only)
        yield Piece(visible(match.group()), only, odd=len(match.group()))
        end = match.end()
    if end < len(text):
        yield Piece(text[end:], only)
