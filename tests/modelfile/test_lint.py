"""`ggship modelfile lint`: docs/modelfile.md says of each rule what lint says, and each of its examples is found."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from pathlib import Path

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.modelfile import Modelfile, render
from ggship.modelfile.lint import lint, lint_bytes
from ggship.modelfile.rules import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "modelfile.md").read_text("utf-8")
PARTS = {part[:5]: part for part in PAGE.split("\n### ")[1:]}
# How the example of a rule has to be saved, where that is what the rule is about.
SAVED = {"MF101": lambda text: text.encode("latin-1"), "MF111": lambda text: text.replace("\n", "\r\n").encode()}


def example(code: str) -> bytes:
    text = re.findall(r"```Modelfile\n(.*?)```", PARTS[code], re.DOTALL)[0]
    return SAVED.get(code, str.encode)(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the examples lie: with what they speak of, and nothing else."""
    (tmp_path / "lora-out").mkdir()
    (tmp_path / "lora-out" / "adapter_config.json").write_text("{}")
    (tmp_path / "law-helper").mkdir()
    for name in ("model.gguf", "adapter.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    return tmp_path


def test_the_page_has_the_rules_in_their_order():
    assert re.findall(r"^### (MF\d{3}) ", PAGE, re.MULTILINE) == list(RULES)


@pytest.mark.parametrize("code", RULES)
def test_the_page_says_what_lint_says_and_its_example_is_found(code, folder):
    rule, part = RULES[code], PARTS[code]
    assert part.startswith(f"{code} {rule.title}\n\nLevel: {rule.level}\n")
    assert f"* **Consequence.** {rule.consequence}\n* **Fix.** {rule.fix}" in part
    found = lint_bytes(example(code), folder=folder if code in ("MF302", "MF303", "MF304") else None)
    assert [(each.code, each.level) for each in found if each.code != "MF301" or code == "MF301"] == [
        (code, rule.level)
    ]


def test_a_good_file_has_nothing(folder):
    good = Modelfile(
        "./model.gguf",
        template='{{ range .Messages }}{{ if eq .Role "user" }}Q: {{ .Content }}\n{{ end }}{{ end }}{{/* "} */}}A:',
        system='Say "yes"\nor no. C:\\new # 1',
        parameters=(("stop", "### Instruction:"), ("stop", "\n"), ("temperature", 0.7), ("seed", -1), ("top_p", 1.0)),
        messages=(("user", "a"),),
        requires="v0.30.0-rc1",
        licenses=("# MIT\n\nyes",),
        comments=("one",),
    )
    assert [found.code for found in lint(render(good), folder=folder)] == [
        "MF113",
        "MF207",
    ]  # "C:\new", and a line feed
    assert lint("FROM x\nTEMPLATE {{- if .System }}{{ `}}` }}{{ '\"' }}{{- else -}}a{{ end -}}{{ .Prompt }}\n") == ()
    assert lint("FROM hf.co/a/b:Q4_K_M\nRENDERER qwen3-coder\nPARSER qwen3-coder\n", folder=folder) == ()


def test_all_is_said_at_once_with_its_line_and_what_was_meant(folder):
    text = '# head\nFROM x\nSYSTEM """a\nb"""\nc"""\nPARAMTER stop a\nPARAMETER num_ctx many\r\nMESSAGE tool """a\nb"""'
    found = lint(text)
    assert [(each.line, each.code) for each in found] == [(5, "MF102"), (6, "MF102"), (7, "MF202"), (8, "MF105")]
    assert "the first that ends in" in found[0].fix
    assert "line 4" in found[0].fix
    assert found[1].fix == "Did you mean parameter?"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a\n{{ .System", "line 2 an action is not closed"),
        ('{{ "a }}', "line 1 an action"),
        ("{{/* }}\n{{ .Prompt }}", "line 1 an action is not closed"),
        ("{{ end }}", "stands end outside"),
        ("{{ else }}", "stands else outside"),
        ("{{ range .Messages }}\n{{ with . }}{{ end }}", "range of its line 1 has no end"),
        ("{{- /* {{ */ -}}{{ if .System }}", "if of its line 1 has no end"),
    ],
)
def test_templates_that_go_refuses(template, words):
    (found,) = lint(f'FROM x\nTEMPLATE """{template}"""\n')
    assert found.code == "MF307"
    assert words in found.evidence


def test_what_ollama_takes_for_files_and_for_names(folder):
    def codes(text):
        return [found.code for found in lint(text, folder=folder)]

    assert codes("FROM model.gguf\nFROM ./adapter.gguf\n") == []
    assert codes("FROM llama3.2\nFROM ./model.gguf\n") == ["MF305"]
    assert codes("FROM ./mo*.gguf\n") == ["MF312"]
    assert codes("FROM /nowhere/at/all\n") == ["MF302"]
    assert codes("FROM ./lora-out\n") == ["MF303"]
    assert codes(f"FROM {'a' * 5000}/b.gguf\n") == ["MF302"]
    assert codes("FROM ~nobody-of-that-name/x.gguf\n") == ["MF302"]


def test_text_of_every_encoding_that_ollama_reads():
    text = "FROM x\nSYSTEM 法律\n"
    assert lint_bytes(text.encode("utf-16")) == ()
    assert (
        lint_bytes(b"\xff\xfe" + text.encode("utf-16-le")) == lint_bytes(b"\xfe\xff" + text.encode("utf-16-be")) == ()
    )
    assert lint_bytes(b"\xef\xbb\xbf" + text.encode()) == ()
    assert lint_bytes(b"FROM x\n\nSYSTEM \xe6\xb3\n")[0].line == 3
    by_line = lint_bytes(b"FROM x\nSYSTEMS a\nSYSTEM \xe6\xb3\n")
    assert [(found.line, found.code) for found in by_line] == [(2, "MF102"), (3, "MF101")]


@pytest.mark.parametrize(
    "text",
    [
        "{{" * 200_000,
        "FROM x\nTEMPLATE {{" + '"' * 99_999,
        "FROM x\nTEMPLATE {{" + " " * 200_000,
        "\n" * 500_000,
        "FROM x\nPARAMETER temperature 1e-999999999\n",
        "FROM x\nPARAMETER seed " + "0" * 100_000 + "\n",
        "FROM x\nTEMPLATE " + "{{ .A }}" * 50_000 + "\n",
        "FROM x\nSYSTEM " + "\\n " * 100_000 + "\n",
        "FROM x\nTEMPLATE " + "{{/*}}" * 60_000 + "\n",
        "FROM x\n" * 40_000,
    ],
)
def test_hostile_texts_take_no_longer_than_their_length(text):
    began = time.process_time()
    lint(text)
    assert time.process_time() - began < 20


def ggship(*arguments: str) -> int:
    return run(cli, ["modelfile", *arguments])


def test_the_command_says_it_in_lines_and_with_exit_codes(folder, capsys):
    file = folder / "Modelfile"
    file.write_text("FROM x\nPARAMTER a\nADAPTER ./adapter.gguf\n")
    assert ggship("lint", str(file)) == 4
    out = capsys.readouterr().out
    assert f"{file}:2: error: MF102 No such command: a Modelfile has no command 'PARAMTER'\n" in out
    assert out.endswith("1 error, 1 warning\n")
    file.write_text("FROM x\nADAPTER ./adapter.gguf\n")
    assert ggship("lint", str(file)) == 0
    assert ggship("lint", str(file), "--strict") == 4
    capsys.readouterr()
    assert ggship("lint", str(file), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["error"], document["warning"], document["problems"][0]["code"]) == (0, 1, "MF301")
    file.write_text("FROM x\n")
    assert ggship("lint", str(file)) == 0
    assert capsys.readouterr().out == "nothing found\n"


def test_bad_files_are_said(folder, capsys, monkeypatch):
    assert ggship("lint", str(folder)) == 2
    assert "Modelfile" in capsys.readouterr().err
    assert ggship("lint", str(folder / "none")) == 2
    assert "No such file" in capsys.readouterr().err
    (folder / "model.gguf").write_bytes(b"GGUF" + bytes(5 << 20))
    assert ggship("lint", str(folder / "model.gguf")) == 1
    assert "too long for a Modelfile" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"FROM\n")))
    assert ggship("lint", "-") == 4
    assert "-:1: error: MF103" in capsys.readouterr().out
