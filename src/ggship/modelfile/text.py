"""Modelfile text: a value written down, and read back."""

from __future__ import annotations

from ggship.errors import UsageError
from ggship.modelfile.grammar import COMMANDS, QUOTES, Command, Comment, read
from ggship.modelfile.model import ONCE, Modelfile, Scalar
from ggship.modelfile.parameters import KNOWN, typed, written

_WHITE = " \t\r\n"


def parse(text: str, *, name: str = "Modelfile") -> Modelfile:
    """Read a Modelfile as Ollama does: characters that its grammar drops are dropped here too.

    Stricter in one thing: a command that may stand once and stands twice is an error, where Ollama silently takes the
    last. Raises UsageError with `NAME: line N`.
    """
    try:
        return _parse(text)
    except UsageError as error:
        raise UsageError(error.message, where=f"{name}: {error.where}", hint=error.hint, rule=error.rule) from None


def _parse(text: str) -> Modelfile:
    comments: list[str] = []
    froms: list[str] = []
    once: dict[str, str] = {}
    parameters: list[tuple[str, Scalar]] = []
    messages: list[tuple[str, str]] = []
    licenses: list[str] = []
    commands = 0
    for item in read(text):
        if isinstance(item, Comment):
            if not commands:
                comments.append(item.text.removeprefix(" "))
            continue
        commands += 1
        if item.name == "from":
            froms.append(item.value)
        elif item.name == "parameter":
            parameters.append((item.key, parameter(item)))
        elif item.name == "message":
            messages.append((item.key, item.value))
        elif item.name == "license":
            licenses.append(item.value)
        elif item.name in once:
            raise UsageError(
                f"a second {item.name.upper()}: Ollama would silently take the last one",
                where=f"line {item.line}",
                rule="MF107",
            )
        else:
            once[item.name] = item.value
    if not froms:
        raise no_from()
    return Modelfile(
        from_=froms[0],
        more_from=tuple(froms[1:]),
        parameters=tuple(parameters),
        messages=tuple(messages),
        licenses=tuple(licenses),
        comments=tuple(comments),
        **{key: once.get(key) for key in ONCE},
    )


def no_from() -> UsageError:
    """What is wrong with a Modelfile that says of nothing what it is made of."""
    hint = "FROM takes a model's name or a GGUF file"
    return UsageError("there is no FROM line", where="line 1", hint=hint, rule="MF106")


def parameter(command: Command) -> Scalar:
    """The value of a PARAMETER command. Raises UsageError with its line and the rule's code."""
    line = f"line {command.line}"
    if not command.key:
        raise UsageError("PARAMETER is followed by one space and a name", where=line, rule="MF201")
    if command.key in COMMANDS or command.key == "model":
        command_name = "FROM" if command.key == "model" else command.key.upper()  # "model" is what Ollama calls it
        words = f"PARAMETER {command.key} is no parameter: Ollama takes it for the command {command_name}"
        raise UsageError(words, where=line, rule="MF108")
    try:
        return typed(command.key, command.value)
    except UsageError as error:
        where = f"{line}: {error.where}" if error.where else line
        rule = "MF202" if command.key in KNOWN else "MF201"
        raise UsageError(error.message, where=where, hint=error.hint, rule=rule) from None


def render(modelfile: Modelfile) -> str:
    """Write it down so that Ollama reads the same. What its grammar loses all the same, `not_carried` names."""
    lines = [f"# {text}" if text else "#" for text in modelfile.comments]
    lines += [f"FROM {_short(value)}" for value in (modelfile.from_, *modelfile.more_from)]
    for name in ("adapter", "draft", "renderer", "parser", "requires"):
        value = getattr(modelfile, name)
        if value is not None:
            lines.append(f"{name.upper()} {_short(value)}")
    for name in ("template", "system"):
        value = getattr(modelfile, name)
        if value is not None:
            lines.append(f"{name.upper()} {QUOTES}{value}{QUOTES}")
    lines += [f"PARAMETER {name} {_value(value)}" for name, value in modelfile.parameters]
    lines += [f"MESSAGE {role} {QUOTES}{text}{QUOTES}" for role, text in modelfile.messages]
    lines += [f"LICENSE {QUOTES}{text}{QUOTES}" for text in modelfile.licenses]
    return "\n".join(lines) + "\n"


def _short(value: str) -> str:
    """Bare where that is read back the same, in triple quotes otherwise."""
    bare = value and value == value.strip(_WHITE) and not value.startswith('"') and not set(value) & set("\r\n")
    return value if bare else f"{QUOTES}{value}{QUOTES}"


def _value(value: Scalar) -> str:
    if not isinstance(value, str):
        return written(value)
    plain = value and '"' not in value and not set(value) & set("\r\n")
    return f'"{value}"' if plain else f"{QUOTES}{value}{QUOTES}"
