"""The one place where an error becomes words on the terminal and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ggship.errors import GgshipError
from ggship.settings import cache_dir, state_dir

INTERRUPTED = 130


class Stopped(click.Abort):
    """Ctrl-C, where a command knows what is true all the same: "nothing live was changed"."""


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run the command and return the exit code. With GGSHIP_DEBUG set, unexpected errors keep their traceback."""
    try:
        result = command.main(args=list(arguments), prog_name="ggship", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        click.echo(f"\nStopped. {stop if isinstance(stop, Stopped) else ''}".rstrip(), err=True)
        return INTERRUPTED
    except GgshipError as error:
        if os.environ.get("GGSHIP_DEBUG"):
            raise
        show(error)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        if os.environ.get("GGSHIP_DEBUG"):
            raise
        show(_unexpected(error))
        return 1
    return result if isinstance(result, int) else 0


def show(error: GgshipError) -> None:
    """Print what, where, and what to type next, on stderr."""
    from ggship.cli.terminal import harmless

    red = not os.environ.get("NO_COLOR") and sys.stderr.isatty()
    rule = _rule(error)
    message = harmless(error.message) + (f" [{rule}]" if rule and rule not in error.message else "")
    click.echo(click.style("error: ", fg="red", bold=True) + message if red else f"error: {message}", err=True)
    for line in harmless(error.where).splitlines():
        click.echo(f"   {line}", err=True)
    for number, line in enumerate(harmless(error.hint).splitlines()):
        click.echo(f" {'→' if number == 0 else ' '} {line}", err=True)


def _rule(error: GgshipError) -> str:
    """The code of docs/rules.md that explains the error, "" where there is none."""
    code = getattr(error, "code", "")
    if error.rule or not code:
        return error.rule
    from ggship.runs.findings.catalogue import OBSTACLES

    return OBSTACLES.get(code, "")


def _unexpected(error: Exception) -> GgshipError:
    if isinstance(error, OSError):
        path = f"{error.filename}" if error.filename else ""
        return GgshipError((error.strerror or str(error)).lower(), where=path, hint=_os_hint(error))
    return GgshipError(
        f"unexpected {type(error).__name__}: {error}",
        hint="This is a bug in ggship. GGSHIP_DEBUG=1 in front of the same command shows where.",
    )


def _os_hint(error: OSError) -> str:
    import errno

    for variable, folder in (("GGSHIP_CACHE_DIR", cache_dir()), ("GGSHIP_STATE_DIR", state_dir())):
        if isinstance(error.filename, str | bytes) and Path(os.fsdecode(error.filename)).is_relative_to(folder):
            return f"ggship keeps things there; {variable}=DIR in front of the command puts them elsewhere"
    return {
        errno.ENOSPC: "Free some disk, or choose another with --out. Running again goes on where this stopped.",
        errno.EDQUOT: "Your quota is used up: put the package elsewhere with --out.",
        errno.EACCES: "Choose a folder that you may write to with --out.",
        errno.EROFS: "That disk is read-only: choose another folder with --out.",
    }.get(error.errno or 0, "")
