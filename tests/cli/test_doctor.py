from __future__ import annotations

import json
import re
import socket
import threading
from importlib.metadata import requires

import pytest

from ggship.checkup import CORE, EXTRAS, checkup
from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.gguf.installed import compiled_kernels

DOWN = {"OLLAMA_HOST": "127.0.0.1:9"}


@pytest.fixture
def doctor(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("OLLAMA_HOST", DOWN["OLLAMA_HOST"])
    monkeypatch.setenv("GGSHIP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GGSHIP_CACHE_DIR", str(tmp_path / "cache"))

    def ask(*arguments):
        code = run(cli, ["doctor", *arguments])
        return code, capsys.readouterr().out

    return ask


def found(report, name):
    return next(check for check in report["checks"] if check["name"] == name)


def test_what_is_only_missing_is_no_error_and_says_what_to_type(doctor):
    code, out = doctor("--json")
    report = json.loads(out)
    assert code == 0
    assert report["ok"] is True
    assert found(report, "packages")["versions"].keys() >= {"click", "numpy"}
    ollama = found(report, "Ollama")
    assert ollama["state"] == "missing"
    assert "127.0.0.1:9" in ollama["found"]
    assert "ollama serve" in ollama["hint"]
    for extra in EXTRAS:
        check = found(report, "embedded" if extra == "embedded" else f"extra {extra}")
        assert check["state"] == "ok" or check["hint"] == f"pip install 'ggship[{extra}]'"
    assert set(report["vendor"]) >= {"whole", "state"}


def test_it_says_whether_the_kernels_are_compiled(doctor, monkeypatch):
    check = found(json.loads(doctor("--json")[1]), "kernels")
    assert check["state"] == ("ok" if compiled_kernels() else "missing")
    monkeypatch.setenv("GGSHIP_PURE_PYTHON", "1")
    check = found(json.loads(doctor("--json")[1]), "kernels")
    assert check["state"] == "missing"
    assert "C compiler" in check["hint"]


def test_what_ggship_cannot_do_without_is_exit_1(doctor, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GGSHIP_STATE_DIR", str(tmp_path / "file" / "state"))
    code, out = doctor()
    assert code == 1
    assert "1 broken: state" in out
    assert "GGSHIP_STATE_DIR=DIR" in out


def test_the_calm_form_ends_with_what_to_type_next(doctor):
    code, out = doctor()
    assert code == 0
    assert out.rstrip().endswith("Nothing is broken. ggship package RUN --name NAME")
    assert re.search(r"^✓ ggship ", out, re.MULTILINE)
    assert re.search(r"^. extra hf ", out, re.MULTILINE)


def test_the_packages_looked_for_are_those_that_ggship_declares():
    declared = {
        re.split(r"[^a-zA-Z0-9-]", line)[0].lower() for line in requires("ggship") or [] if "extra ==" not in line
    }
    assert set(CORE) == declared


def test_a_server_that_accepts_and_never_answers_does_not_keep_one_waiting():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        done = threading.Event()
        results = []

        def look():
            results.extend(checkup(f"127.0.0.1:{silent.getsockname()[1]}", {}))
            done.set()

        threading.Thread(target=look, daemon=True).start()
        assert done.wait(30)
    ollama = next(check for check in results if check.name == "Ollama")
    assert ollama.state == "missing"
    assert "no answer" in ollama.found


def test_a_state_directory_that_cannot_even_be_looked_for_is_broken_and_not_the_end(doctor, monkeypatch):
    monkeypatch.setenv("GGSHIP_STATE_DIR", f"/tmp/{'x' * 300}")  # as with a folder above it that one may not enter
    code, out = doctor()
    assert code == 1
    assert "1 broken: state" in out
    assert "GGSHIP_STATE_DIR=DIR" in out
