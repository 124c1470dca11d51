from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ggship.evals.marks import Piece, escape_odd, show, side_by_side

words = st.lists(st.sampled_from(["law", "is", "a", "合", "同", ".", "\n", "\x1b", "\u202e"]), max_size=30).map(
    " ".join
)


def told(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece.text for piece in pieces)


@given(words, words)
def test_marking_loses_no_letter(left: str, right: str) -> None:
    first, second = side_by_side(left, right)
    assert (told(first.pieces), told(second.pieces)) == (escape_odd(left), escape_odd(right))


@given(words)
def test_equal_texts_have_no_marks(text: str) -> None:
    first, second = side_by_side(text, text)
    assert first == second == show(text)
    assert not any(piece.only for piece in first.pieces)


def test_only_what_differs_is_marked() -> None:
    first, second = side_by_side("notice of one month, please", "notice of two full months, please")
    assert [piece.text for piece in first.pieces if piece.only] == ["one month"]
    assert [piece.text for piece in second.pieces if piece.only] == ["two full months"]
    chinese, _ = side_by_side("口头合同有效", "书面合同有效")
    assert [piece.text for piece in chinese.pieces if piece.only] == ["口头"]


def test_texts_with_nothing_in_common_are_left_unmarked() -> None:
    first, second = side_by_side("alpha beta gamma delta", "one two three four")
    assert not any(piece.only for piece in (*first.pieces, *second.pieces))


def test_what_cannot_be_seen_is_made_visible() -> None:
    assert escape_odd("a\x1b[1m\u202eb\u200bc\x00\U000e0041\r") == "aU+001B[1mU+202EbU+200BcU+0000U+E0041U+000D"
    assert escape_odd("مرحبا 👩\u200d🌾 می\u200cخواهم\n\t") == "مرحبا 👩\u200d🌾 می\u200cخواهم\n\t"
