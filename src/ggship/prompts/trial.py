"""Try a chat template out in a process of its own, where nothing it does can hurt.

The sandbox bounds loops and output; what one expression may take (a text doubled a hundred times) only a process with
limits bounds. The template is a stranger's program: try it once before it is rendered here.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

from ggship.errors import BadFile, GgshipError, ToolFailed
from ggship.isolation import child_environment
from ggship.prompts.chat import ChatTemplate, TemplateRefused, TemplateTooLarge
from ggship.prompts.gguftemplate import gguf_chat_template
from ggship.prompts.gotemplate import go_template
from ggship.prompts.probes import PROBES
from ggship.prompts.thinking import match_thinking
from ggship.runner import Runner, run_subprocess

CPU_SECONDS = 1.4  # beside what starting Python took; the largest honest template takes 0.4
SECONDS = 20.0  # of the clock: what a busy machine may take for two seconds of work
MEMORY_BYTES = 1 << 30
_HINT = "mend it, or name the template of training: --template FILE, or a family such as chatml"
_TOO_MUCH = "the chat template takes more time or memory than a template may"


def check_template(chat: ChatTemplate, *, runner: Runner = run_subprocess, seconds: float = SECONDS) -> None:
    """Do with the template, in a child process with limits on time and memory, all that is done with it later.

    Raises BadFile where that takes more than 2 s of processor time, `seconds` by the clock, or 1 GiB, or where no probe
    is rendered at all; with the template's line where the template itself says what is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="ggship-") as folder:
        file = Path(folder) / "template.json"
        file.write_text(json.dumps(asdict(chat)), encoding="utf-8")
        argv = [sys.executable, "-m", "ggship.prompts.trial", str(file)]
        try:
            # Its own folder as the working directory: `-m` would import from ours.
            done = runner(argv, cwd=Path(folder), env=child_environment(), timeout=seconds)
        except ToolFailed:
            raise BadFile(f"the chat template takes more than {seconds:g} s to render", where=chat.source) from None
    if done.returncode == 0:
        return
    with contextlib.suppress(ValueError, KeyError, TypeError):
        problem = json.loads(done.tail(1))
        raise BadFile(problem["message"], where=problem["where"], hint=problem["hint"] or _HINT)
    raise BadFile(_TOO_MUCH, where=chat.source, hint=_HINT)


def check_template_once(chat: ChatTemplate, *, runner: Runner = run_subprocess, today: date | None = None) -> None:
    """Like check_template, but a template that passed before (by its sha256) is not tried again.

    One that asks for the time is tried once a day: it may have waited for this one.
    """
    from ggship.digests import digest_of, write_text
    from ggship.settings import cache_dir

    day = str(today or date.today()) if "strftime_now" in chat.text else ""
    mark = cache_dir() / "templates" / digest_of({**asdict(chat), "day": day})
    if mark.exists():
        return
    check_template(chat, runner=runner)
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_text(mark, "")


def main(file: str) -> int:
    """The child: 0 where a probe is rendered, and all the rest done; else the error as one JSON line, and 1."""
    _limit()
    chat = ChatTemplate(**json.loads(Path(file).read_text(encoding="utf-8")))
    try:
        problem = _tried(chat)
    except TemplateTooLarge as error:
        problem = error
    if problem is None:
        return 0
    sys.stdout.write(json.dumps({"message": problem.message, "where": problem.where, "hint": problem.hint}) + "\n")
    return 1


def _tried(chat: ChatTemplate) -> GgshipError | None:
    """What is wrong with the template; None where it renders at least one conversation."""
    refused: GgshipError | None = None
    rendered: set[str] = set()
    for probe in PROBES:
        try:
            rendered.add(chat.render(probe.messages))
        except TemplateRefused as error:
            refused = error
        except BadFile as error:
            refused = error
            break
    if not rendered:
        return refused
    if len(rendered) == 1 and refused is None:
        return BadFile(
            "the chat template leaves the question out: it renders every conversation alike",
            where=chat.source,
            hint="is it the whole file? Name another with --template",
        )
    with contextlib.suppress(BadFile):  # whether these can be made of it is not asked here
        chat, _ = match_thinking(chat)
        gguf_chat_template(chat)
        go_template(chat)
    return None


def _limit() -> None:
    """Bound processor time and memory where the platform can (not on Windows)."""
    with contextlib.suppress(ImportError):
        import resource

        cpu_seconds = math.ceil(time.process_time() + CPU_SECONDS)  # the limit is in whole seconds
        for kind, most in ((resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_AS, MEMORY_BYTES)):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (most, most))
    with contextlib.suppress(AttributeError, ValueError, OSError):
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # ends the process, and knows parts of a second


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
