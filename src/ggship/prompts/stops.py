"""Where an answer ends: the stop strings of a model, from its tokenizer and from the format it was trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggship.errors import BadFile
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.pieces import NoPattern, Pieces, find_pieces
from ggship.prompts.tokens import TokenNames, special_tokens
from ggship.runtimes.model import Message

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.runs.model import Run

# What control tokens look like in text: <|im_end|>, <｜end▁of▁sentence｜>, <end_of_turn>, <|turn>, <seed:eos>, [INST].
_MARK = re.compile(r"<\|[^<>|\s]+\|>|<｜[^<>｜\s]+｜>|<[/|]?[A-Za-z_][\w.:-]*\|?>|\[/?[A-Z_]{2,}\]")
_WORDS = re.compile(r"[\w ]+")
_ASKED, _ANSWER = "zqQUESTIONqz", "zqANSWERqz"


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop string, and where it is known from."""

    text: str
    source: str

    @property
    def shown(self) -> str:
        """On one line."""
        return self.text.replace("\n", "\\n")


def find_stops(run: Run, base: Base, chat: ChatTemplate, names: TokenNames | None = None) -> tuple[Stop, ...]:
    """What ends an answer: the format's end-of-turn mark first, then EOS and the other ends that the tokenizer names.

    Where questions begin with plain text (`### Instruction:`), that too. None is empty, white space, or there twice.
    Raises BadFile where a tokenizer file is damaged, or the template does not render one question.
    """
    ends = special_tokens(run, base, names).ends
    try:
        marks = pieces_stops(find_pieces(chat), chat.bos_token)
    except NoPattern:
        marks = ()  # the tokenizer's own ends are left
    found = [Stop(mark, "the template ends answers with it") for mark in marks[:1]]
    found += [Stop(chat.eos_token, "EOS of the tokenizer")] if chat.eos_token else []
    found += [Stop(end, "an end that generation_config.json or the base's GGUF names") for end in ends]
    found += [Stop(mark, "the template writes it after answers, or before questions") for mark in marks[1:]]
    first: dict[str, Stop] = {}
    for stop in found:
        if stop.text.strip():
            first.setdefault(stop.text, stop)
    return tuple(first.values())


def stop_strings(run: Run, base: Base, chat: ChatTemplate, names: TokenNames | None = None) -> tuple[str, ...]:
    """The texts of find_stops."""
    return tuple(stop.text for stop in find_stops(run, base, chat, names))


def pieces_stops(pieces: Pieces, bos: str | None) -> tuple[str, ...]:
    """The marks that close an answer, then the one that opens the next question, or its heading where it has none.

    `bos` is none of them, unless nothing else opens a question. A heading of one or two characters is left out: answers
    hold those; one of plain words (`User`) stops where it is a line of its own, or begins one.
    """
    marks = [mark for mark in _MARK.findall(pieces.assistant.close) if mark != bos]
    heading = pieces.user.open.strip().split("\n")[0].strip()
    openers = _MARK.findall(heading)
    if openers:
        marks.append(next((mark for mark in openers if mark != bos), openers[0]))
    elif len(heading) > 2:
        marks.append(_anchored(pieces, heading) if _WORDS.fullmatch(heading) else heading)
    return tuple(dict.fromkeys(mark for mark in marks if mark))


def _anchored(pieces: Pieces, heading: str) -> str:
    """A heading of plain words, which an answer may hold too, as a line or the start of one; "" where it is neither."""
    opened = pieces.user.open.lstrip()
    before = pieces.assistant.close + pieces.user.open[: len(pieces.user.open) - len(opened)]
    after = opened[len(heading) :].lstrip(" ")
    if not before.endswith("\n"):
        return ""
    return "\n" + heading + ("\n" if after.startswith("\n") else "")


def answers_end(chat: ChatTemplate) -> str | None:
    """What the template writes behind an answer that ends the conversation: where training learns to stop.

    None where that cannot be told: the template refuses an answer at the end, or changes it.
    """
    turns = [Message(role="user", content=_ASKED), Message(role="assistant", content=_ANSWER)]
    try:
        text = chat.render(turns, add_generation_prompt=False)
    except BadFile:
        return None
    return text.rpartition(_ANSWER)[2] if text.count(_ANSWER) == 1 else None


def end_marks(text: str, ends: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens in the text that end an answer: those the tokenizer names, else what looks like a control token."""
    named = tuple(end for end in ends if end in text)
    return named or tuple(dict.fromkeys(_MARK.findall(text)))
