"""What a Modelfile cannot say of a value: found before it is written, since Ollama drops and cuts without a word."""

from __future__ import annotations

from ggship.errors import UsageError
from ggship.modelfile.grammar import QUOTES, is_print
from ggship.modelfile.model import ONCE, ROLES, Modelfile, Scalar
from ggship.modelfile.parameters import KNOWN, typed, written

_WHITE = " \t\r\n"


def losses(modelfile: Modelfile) -> tuple[str, ...]:
    """Like not_carried, for a value that is to be written down all the same.

    Raises UsageError for what would not only be lost: a text that ends early leaves lines behind that Ollama reads as
    commands, and one that is no Unicode cannot be written at all.
    """
    for label, value in _texts(modelfile):
        if (line := _ends_early(value)) is not None:
            shown = value.split("\n")[line - 1].strip()
            raise UsageError(
                f'{label}: a line of it ends in """, which ends the whole text in a Modelfile',
                where=f"its line {line}: {shown[-60:]}",
                hint="put something after the quotation marks, or fewer of them",
            )
        if not value.isascii() and value.encode("utf-8", "ignore").decode() != value:
            raise UsageError(f"{label}: this is no text", where=repr(value)[:60], hint="it must be UTF-8")
    return not_carried(modelfile)


def not_carried(modelfile: Modelfile) -> tuple[str, ...]:
    """What a Modelfile cannot say of this value, one line each; empty where the text is read back the same.

    The API carries all of it: what is named here is to be sent in the create request, and said so.
    """
    problems: list[str] = []
    for label, value in _texts(modelfile):
        dropped = sorted({char for char in value if not (is_print(char) or char in _WHITE)})
        if dropped:
            named = ", ".join(f"U+{ord(char):04X}" for char in dropped[:5]) + (", ..." if len(dropped) > 5 else "")
            problems.append(f"{label}: Ollama's Modelfile parser drops {named}")
        if (line := _ends_early(value)) is not None:
            problems.append(f'{label}: a line that ends in """ ends the value (its line {line})')
    problems += ["comment: a comment is one line" for text in modelfile.comments if set(text) & set("\r\n")]
    problems += [
        f"MESSAGE {role}: only {', '.join(ROLES)} can speak" for role, _ in modelfile.messages if role not in ROLES
    ]
    for name, setting in modelfile.parameters:
        problems += _parameter_problems(name, setting)
    return tuple(dict.fromkeys(problems))


def _parameter_problems(name: str, value: Scalar) -> list[str]:
    if name not in KNOWN:
        return [f"PARAMETER {name}: Ollama knows no such parameter"]
    if isinstance(value, str) and name == "stop":
        return []
    try:
        same = typed(name, written(value)) == value
    except UsageError as error:
        return [f"PARAMETER {name}: {error}"]
    return [] if same else [f"PARAMETER {name}: {value!r} is read back as {typed(name, written(value))!r}"]


def _texts(modelfile: Modelfile) -> list[tuple[str, str]]:
    texts = [("FROM", value) for value in (modelfile.from_, *modelfile.more_from)]
    texts += [(name.upper(), getattr(modelfile, name)) for name in ONCE if getattr(modelfile, name) is not None]
    texts += [(f"PARAMETER {name}", value) for name, value in modelfile.parameters if isinstance(value, str)]
    texts += [(f"MESSAGE {role}", text) for role, text in modelfile.messages]
    texts += [("LICENSE", text) for text in modelfile.licenses]
    return texts


def _ends_early(value: str) -> int | None:
    """The line of `value`, from 1, at whose end Ollama would take the triple quotes for closed; None: at none.

    Its parser sees the value without the characters that it drops, and looks at each line's end for the quotes.
    """
    seen = 0  # characters kept so far, up to the last that is not white
    last = ""  # the last three of them
    gap = 0  # white ones after those
    line = 1
    for char in value:
        if char in "\r\n" and seen >= len(QUOTES) and last == QUOTES:
            return line
        if char == "\n":
            line += 1
        if char in _WHITE:
            gap += 1
        elif is_print(char):
            last = (last + " " * gap + char)[-len(QUOTES) :] if gap < len(QUOTES) else char
            seen, gap = seen + gap + 1, 0
    return None
