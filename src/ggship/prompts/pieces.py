"""The format of turns, learnt from a chat template by rendering conversations whose texts are marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ggship.errors import BadFile
from ggship.prompts.chat import ChatTemplate
from ggship.runtimes.model import Message

_S, _U1, _A1, _U2 = "zqSYSTEMqz", "zqUSERONEqz", "zqREPLYONEqz", "zqUSERTWOqz"


@dataclass(frozen=True, slots=True)
class Wrap:
    """What stands before and after the text of a turn."""

    open: str
    close: str


@dataclass(frozen=True, slots=True)
class Pieces:
    """The format of turns.

    bos: the beginning-of-sequence token that was taken off the front, because the server puts it there; else "".
    start: before the first turn, whatever it is. without_system: after it, where no system text is given (a default
    system turn). generation: after the last turn, for the model to go on.
    system_place: "own turn"; "first user" (system.close leads straight to the user's text, inside one turn);
    "last user" (system.open and .close stand inside the last user turn, around the system text); "refused".
    empty_system: what stands in place of a system turn whose text is empty; None: what stands around any other text.
    trims: the template strips white space around texts. dated: today's date is in the prompt.
    """

    bos: str
    start: str
    without_system: str
    system: Wrap
    user: Wrap
    assistant: Wrap
    generation: str
    system_place: str = "own turn"
    empty_system: str | None = None
    trims: bool = False
    dated: bool = False


class NoPattern(Exception):
    """The template's turns follow no pattern that Pieces can say; the message says why."""


def find_pieces(chat: ChatTemplate, *, without_bos: bool = False) -> Pieces:
    """Learn the format of turns; without_bos takes a leading BOS token off.

    Raises NoPattern, or BadFile where the template does not render one question.
    """
    first = _parts(chat, [("user", _U1)], [_U1])
    if first is None:
        raise NoPattern("a single question is not in the prompt as it stands")
    bos = chat.bos_token if without_bos and chat.bos_token and first[0].startswith(chat.bos_token) else ""
    before, after = first
    before = before.removeprefix(bos)
    turns = _try_parts(chat, [("user", _U1), ("assistant", _A1), ("user", _U2)], [_U1, _A1, _U2])
    if turns is None:
        raise NoPattern("the template takes no second question, or changes earlier turns")
    between = turns[2]

    closed = _tail(chat, [("user", _U1), ("assistant", _A1)], _A1)
    shared = closed if closed is not None and between.startswith(closed) else _common(closed or "", between)
    user_open = _common(before[::-1], between[len(shared) :][::-1])[::-1]
    assistant_close = between[: len(between) - len(user_open)]
    ended = _tail(chat, [("user", _U1)], _U1)
    fits = ended is not None and after.startswith(ended) and turns[1].startswith(ended)
    user_close = ended if fits and ended is not None else _common(after, turns[1])
    lead = before[: len(before) - len(user_open)]

    start, without, system, place = _system(chat, bos, lead, user_open, assistant_close)
    pieces = Pieces(
        bos=bos,
        start=start,
        without_system=without,
        system=system,
        user=Wrap(user_open, user_close),
        assistant=Wrap(turns[1][len(user_close) :], assistant_close),
        generation=after[len(user_close) :],
        system_place=place,
        trims=_trims(chat),
        dated=is_dated(chat),
    )
    return replace(pieces, empty_system=_empty_system(chat, pieces))


def _system(
    chat: ChatTemplate, bos: str, lead: str, user_open: str, assistant_close: str
) -> tuple[str, str, Wrap, str]:
    """(start, without_system, wrap of the system text, its place)."""
    single = _try_parts(chat, [("system", _S), ("user", _U1)], [_S, _U1])
    if single is None:
        # Nothing was learnt of a system text; put it where templates without that role are usually given it.
        return lead, "", Wrap(user_open, "\n\n"), "refused"
    opening, middle = single[0].removeprefix(bos), single[1]
    longer = [("system", _S), ("user", _U1), ("assistant", _A1), ("user", _U2)]
    late = _try_parts(chat, longer, [_U1, _A1, _S, _U2])
    if late is not None:
        expected = assistant_close + user_open
        if not late[2].startswith(expected):
            raise NoPattern("the system text changes the turns around it")
        return lead, "", Wrap(late[2][len(expected) :], late[3]), "last user"
    if opening.startswith(lead):
        start, without, opening = lead, "", opening[len(lead) :]
    else:
        start, without = "", lead
    if middle.endswith(user_open):
        return start, without, Wrap(opening, middle[: len(middle) - len(user_open)]), "own turn"
    return start, without, Wrap(opening, middle), "first user"


def _empty_system(chat: ChatTemplate, pieces: Pieces) -> str | None:
    """What a template writes for an empty system text, where it treats that as none."""
    found = _try_parts(chat, [("system", ""), ("user", _U1)], [_U1])
    if found is None:
        return None
    before = found[0].removeprefix(pieces.bos)
    start, opened = pieces.start, pieces.user.open
    if pieces.system_place == "refused":
        return "" if before == start + opened else None
    around = pieces.system.open + pieces.system.close
    usual = {"own turn": around + opened, "first user": around, "last user": opened + around}[pieces.system_place]
    if before == start + usual or not (before.startswith(start) and before.endswith(opened)):
        return None
    return before[len(start) : len(before) - len(opened)]


def is_dated(chat: ChatTemplate) -> bool:
    """Whether the prompt changes with the day."""
    messages = _messages([("user", _U1)])
    days = (datetime(2024, 1, 2, 3, 4, 5), datetime(2025, 11, 23, 21, 22, 23))
    return chat.render(messages, now=days[0]) != chat.render(messages, now=days[1])


def _trims(chat: ChatTemplate) -> bool:
    spaced = f" {_U1}\n"
    return spaced not in chat.render(_messages([("user", spaced)]))


def _messages(turns: Sequence[tuple[str, str]]) -> list[Message]:
    return [Message(role=role, content=content) for role, content in turns]


def _parts(
    chat: ChatTemplate, turns: Sequence[tuple[str, str]], marks: Sequence[str], *, generation: bool = True
) -> list[str] | None:
    """The prompt's text around the marks, in order; None where they are not there once each, in that order."""
    text = chat.render(_messages(turns), add_generation_prompt=generation)
    parts: list[str] = []
    for mark in marks:
        if text.count(mark) != 1:
            return None
        before, text = text.split(mark)
        parts.append(before)
    if any(mark in text for mark in marks):
        return None
    return [*parts, text]


def _try_parts(chat: ChatTemplate, turns: Sequence[tuple[str, str]], marks: Sequence[str]) -> list[str] | None:
    """The same, and None where the template refuses or cannot do it."""
    try:
        return _parts(chat, turns, marks)
    except BadFile:
        return None


def _tail(chat: ChatTemplate, turns: Sequence[tuple[str, str]], mark: str) -> str | None:
    """What follows the last text where no answer is asked for."""
    try:
        parts = _parts(chat, turns, [mark], generation=False)
    except BadFile:
        return None
    return parts[-1] if parts else None


def _common(left: str, right: str) -> str:
    length = next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), None)
    return left[: min(len(left), len(right)) if length is None else length]
