"""Where an answer ends: the stop strings of a model, from its tokenizer and from the format it was trained on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ggship.prompts.chat import ChatTemplate
from ggship.prompts.pieces import NoPattern, Pieces, find_pieces
from ggship.prompts.tokens import TokenNames, special_tokens

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.runs.model import Run

# What control tokens look like in text: <|im_end|>, <｜end▁of▁sentence｜>, <end_of_turn>, <|turn>, <seed:eos>, [INST].
_MARK = re.compile(r"<\|[^<>|\s]+\|>|<｜[^<>｜\s]+｜>|<[/|]?[A-Za-z_][\w.:-]*\|?>|\[/?[A-Z_]{2,}\]")


def stop_strings(run: Run, base: Base, chat: ChatTemplate, names: TokenNames | None = None) -> tuple[str, ...]:
    """What ends an answer: the format's end-of-turn mark first, then EOS and the other ends that the tokenizer names.

    Where questions begin with plain text (`### Instruction:`), that too. None is empty, white space, or there twice.
    Raises BadFile where a tokenizer file is damaged, or the template does not render one question.
    """
    ends = special_tokens(run, base, names).ends
    try:
        marks = pieces_stops(find_pieces(chat), chat.bos_token)
    except NoPattern:
        marks = ()  # the tokenizer's own ends are left
    first = (chat.eos_token,) if chat.eos_token else ()
    return tuple(dict.fromkeys(stop for stop in (*marks[:1], *first, *ends, *marks) if stop.strip()))


def pieces_stops(pieces: Pieces, bos: str | None) -> tuple[str, ...]:
    """The marks that close an answer, then the one that opens the next question, or its heading where it has none.

    `bos` is none of them, unless nothing else opens a question. A heading of one or two characters is left out: answers
    hold those.
    """
    marks = [mark for mark in _MARK.findall(pieces.assistant.close) if mark != bos]
    heading = pieces.user.open.strip().split("\n")[0].strip()
    openers = _MARK.findall(heading)
    if openers:
        marks.append(next((mark for mark in openers if mark != bos), openers[0]))
    elif len(heading) > 2:
        marks.append(heading)
    return tuple(dict.fromkeys(marks))
