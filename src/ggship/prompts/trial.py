"""Try a chat template out in a process of its own, where nothing it does can hurt.

The sandbox bounds loops and output; what one expression may take (a text doubled a hundred times) only a process with
limits bounds. The template is a stranger's program: try it once before it is rendered here.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from ggship.errors import BadFile, GgshipError, ToolFailed
from ggship.prompts.chat import ChatTemplate, TemplateRefused
from ggship.prompts.probes import PROBES
from ggship.runner import Runner, run_subprocess

CPU_SECONDS = 2
SECONDS = 20.0  # of the clock: what a busy machine may take for two seconds of work
MEMORY_BYTES = 1 << 30


def check_template(chat: ChatTemplate, *, runner: Runner = run_subprocess, seconds: float = SECONDS) -> None:
    """Render all probes in a child process with limits on time and memory.

    Raises BadFile where it takes more than 2 s of processor time, `seconds` by the clock, or 1 GiB, or renders no probe
    at all; with the template's line where the template itself says what is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="ggship-") as folder:
        file = Path(folder) / "template.json"
        file.write_text(json.dumps(asdict(chat)), encoding="utf-8")
        try:
            done = runner([sys.executable, "-m", "ggship.prompts.trial", str(file)], timeout=seconds)
        except ToolFailed:
            raise BadFile(f"the chat template takes more than {seconds:g} s to render", where=chat.source) from None
    if done.returncode == 0:
        return
    with contextlib.suppress(ValueError, KeyError, TypeError):
        problem = json.loads(done.tail(1))
        raise BadFile(problem["message"], where=problem["where"], hint=problem["hint"])
    raise BadFile("the chat template takes more time or memory than a template may", where=chat.source)


def check_template_once(chat: ChatTemplate, *, runner: Runner = run_subprocess) -> None:
    """Like check_template, but a template that passed before (by its sha256) is not tried again."""
    from ggship.digests import digest_of, write_text
    from ggship.settings import cache_dir

    mark = cache_dir() / "templates" / digest_of(asdict(chat))
    if mark.exists():
        return
    check_template(chat, runner=runner)
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_text(mark, "")


def main(file: str) -> int:
    """The child: 0 where a probe is rendered; else the error as one JSON line, and 1."""
    _limit()
    chat = ChatTemplate(**json.loads(Path(file).read_text(encoding="utf-8")))
    refused: GgshipError | None = None
    rendered = 0
    for probe in PROBES:
        try:
            chat.render(probe.messages)
            rendered += 1
        except TemplateRefused as error:
            refused = error
        except BadFile as error:
            refused = error
            break
    if rendered or refused is None:
        return 0
    sys.stdout.write(json.dumps({"message": refused.message, "where": refused.where, "hint": refused.hint}) + "\n")
    return 1


def _limit() -> None:
    """Bound processor time and memory where the platform can (not on Windows)."""
    with contextlib.suppress(ImportError):
        import resource

        for kind, most in ((resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_AS, MEMORY_BYTES)):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
