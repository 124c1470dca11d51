"""Every error a user can meet, with its exit code.

GgshipError                     1  something went wrong
├── UsageError                  2  the command line or a file the user wrote is not understood
├── GateFailed                  3  the model was made, asked, and found wanting
├── Refused                     4  doing it would give a wrong result
│   ├── NotExpressible             the target format cannot carry what was trained
│   ├── BaseMismatch               the adapter does not fit the base
│   ├── LowSurvival                quantizing erased the trained update
│   ├── AdapterUnusable            the adapter is untrained or holds NaN or Inf
│   ├── AdaptersRefused            the server takes no adapters
│   └── PromptMismatch             the server renders another prompt than training did
├── NotARun                     1  no adapter where the user pointed
├── BadFile                     1  a file is damaged or not what its name says
├── UnknownName                 1  no package of that name
├── BaseNotFound                1  no base model could be found
├── MissingExtra                1  an optional dependency is needed
├── ToolFailed                  1  a subprocess failed or took too long
├── NoRoom                      1  the disk or the memory is too small for what would be done
├── Busy                        1  another ggship works on the same package
├── Damaged                     1  a digest or law of a package does not hold
└── ServerError                 1  a server answered with an error
    ├── ServerUnreachable          nothing answers at that address
    ├── ServerSilent               it took the request, and said nothing for too long
    └── NoRuntime                  neither Ollama nor the embedded runtime is at hand

The command line prints `message`, then `where`, then `hint`; a library user reads the same three attributes. `rule` is
the code that docs/rules.md explains the error under, where there is one.
"""

from __future__ import annotations

from typing import ClassVar


class GgshipError(Exception):
    """Base of all errors: what went wrong, where, and what to type next. rule: a code of docs/rules.md, or ""."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "", rule: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.rule = rule

    def __str__(self) -> str:
        return ": ".join(part for part in (self.message, self.where) if part)


class UsageError(GgshipError):
    """The command line, or a file the user wrote, is not understood."""

    exit_code = 2


class GateFailed(GgshipError):
    """The model was made and asked, and a gate or an assertion does not hold."""

    exit_code = 3


class Refused(GgshipError):
    """Going on would give a wrong result."""

    exit_code = 4


class NotExpressible(Refused):
    """The target format cannot carry what was trained. code: the obstacle's, for programs (runs/obstacles.py)."""

    def __init__(self, message: str, *, where: str = "", hint: str = "", code: str = "", rule: str = "") -> None:
        super().__init__(message, where=where, hint=hint, rule=rule)
        self.code = code


class BaseMismatch(Refused):
    """The adapter does not fit the base."""


class LowSurvival(Refused):
    """Quantizing erased too much of the trained update."""


class AdapterUnusable(Refused):
    """The adapter is untrained, or holds NaN or Inf."""


class AdaptersRefused(Refused):
    """The server does not take adapters."""


class PromptMismatch(Refused):
    """The server renders another prompt than the model was trained on."""


class NotARun(GgshipError):
    """There is no adapter where the user pointed."""


class BadFile(GgshipError):
    """A file is damaged, or is not what its name says."""


class UnknownName(GgshipError):
    """No package of that name is known here."""


class BaseNotFound(GgshipError):
    """No base model could be found."""


class MissingExtra(GgshipError):
    """An optional dependency is needed for this."""

    def __init__(self, extra: str, *, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the optional packages of ggship[{extra}]",
            hint=f"pip install 'ggship[{extra}]'",
        )


class ToolFailed(GgshipError):
    """A subprocess failed or took too long."""


class NoRoom(GgshipError):
    """The disk or the memory is too small for what would be done; found out before anything was."""


class Busy(GgshipError):
    """Another ggship is at work on the same package."""


class Damaged(GgshipError):
    """A digest or a law of a package does not hold."""


class ServerError(GgshipError):
    """A server answered with an error. retry_after: seconds that it wants to be left alone, where it says."""

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        hint: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status
        self.retry_after = retry_after


class ServerUnreachable(ServerError):
    """Nothing answers at that address."""


class ServerSilent(ServerError):
    """The server took the request, and then said nothing for too long."""


class NoRuntime(ServerError):
    """Neither an Ollama server nor the embedded runtime is at hand."""
