"""ggship.yaml read, written and described: mistakes with their lines, and one meaning everywhere."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ggship.errors import UsageError
from ggship.project import Project, parse_project, project_schema, read_project, render_project

WHOLE = """\
version: 1
run: [lora-out, tone@0.3]
name: law-helper
base: base.gguf
suite: suite.yaml
gates: [pass_rate >= 0.9, regressions <= 0]
host: http://127.0.0.1:11434
out: packages/law
package:
  quant: Q8_0
  system: You are a law helper.
  parameter: [temperature=0.2]
  strict: true
  scale: 0.5
publish:
  - ollama:localhost:5000/ns/law-helper
  - {to: hf:me/law-helper, public: true}
gateway:
  - office
  - {url: http://127.0.0.1:3000, public: law, rpm: 60}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("lora-out", "tone"):
        (tmp_path / folder).mkdir()
    (tmp_path / "suite.yaml").write_text("tests: [{prompt: Hi}]")
    return tmp_path


def read(home: Path, text: str) -> Project:
    (home / "ggship.yaml").write_text(text)
    return read_project(home)


def test_every_part_becomes_the_command_one_would_type(home):
    package, registry, hub, office, proxy = read(home, WHOLE).steps()
    folder = str(home / "packages/law")
    assert package.command == ("package",)
    assert " ".join(package.arguments) == (
        f"{home}/lora-out {home}/tone@0.3 --name law-helper --out {folder} --base {home}/base.gguf "
        f"--suite {home}/suite.yaml --host http://127.0.0.1:11434 --gate pass_rate >= 0.9 --gate regressions <= 0 "
        "--scale 0.5 --quant Q8_0 --system You are a law helper. --parameter temperature=0.2 --strict"
    )
    assert registry.arguments[:3] == (folder, "--to", "ollama:localhost:5000/ns/law-helper")
    assert "--public" not in registry.arguments
    assert hub.arguments[-1] == "--public"
    assert office.command == ("gateway", "apply")
    assert office.arguments == (folder, "--gateway", "office")
    assert proxy.arguments == (folder, "--url", "http://127.0.0.1:3000", "--public", "law", "--rpm", "60")


def test_every_option_of_the_file_is_an_option_of_its_command():
    from ggship.cli.gateway import gateway
    from ggship.cli.package import package
    from ggship.cli.publish import publish
    from ggship.project.model import GATEWAY, PACKAGE, PUBLISH

    commands = [(PACKAGE, package), (PUBLISH, publish)]
    commands += [(GATEWAY, gateway.commands[verb]) for verb in ("apply", "plan")]
    for options, command in commands:
        known = {name for parameter in command.params for name in parameter.opts}
        assert {f"--{option.name}" for option in options} <= known


@pytest.mark.parametrize(
    ("wrong", "line", "says"),
    [
        ("nmae: x\n", 1, "did you mean `name`?"),
        ("run: lora-out\n", 1, "the key `name` is missing"),
        ("run: nowhere\nname: law\n", 1, "there is no run nowhere"),
        ("run: lora-out\nname: law helper\n", 2, "law"),
        ("run: lora-out\nname: law\nsuite: none.yaml\n", 3, "there is no file none.yaml"),
        ("run: lora-out\nname: law\ngates: [pass_rate >= 0.9]\n", 3, "gates are rules over a suite"),
        ("run: lora-out\nname: law\nsuite: suite.yaml\ngates: [pas_rate >= 0.9]\n", 4, "pass_rate"),
        ("run: lora-out\nname: law\npublish: [docker:x]\n", 3, "kind of place"),
        ("run: lora-out\nname: law\npackage:\n  strategy: both\n", 4, "one of auto, adapter, merge"),
        ("run: lora-out\nname: law\npackage:\n  strict: 1\n", 4, "true or false"),
        ("run: lora-out\nname: law\npackage:\n  plugins: [os]\n", 4, "unknown key `plugins`"),
        ("run: lora-out\nname: law\ngateway: [{public: x}]\n", 3, "which gateway?"),
        ("version: 2\nrun: lora-out\nname: law\n", 1, "version 1"),
        ("run: lora-out\n\tname: law\n", 2, "spaces"),
    ],
)
def test_a_mistake_is_shown_where_it_stands(home, wrong, line, says):
    with pytest.raises(UsageError) as caught:
        read(home, wrong)
    assert f"line {line}" in caught.value.where
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_without_a_file_the_error_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError, match=r"no ggship\.yaml") as caught:
        read_project(tmp_path)
    assert "ggship init" in caught.value.hint


def test_the_schema_takes_what_the_reader_takes(home):
    schema = project_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    assert not list(check.iter_errors(yaml.safe_load(WHOLE)))
    for wrong in ({"run": "x"}, {"run": "x", "name": "y", "nmae": "z"}, {"run": [], "name": "y"}):
        assert list(check.iter_errors(wrong))


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).map(str.strip)


@given(words.filter(bool), words.filter(bool))
def test_what_init_writes_is_read_back(host, gateway):
    """Law: whatever a value looks like to YAML, the file says what was chosen."""
    text = render_project(run=".", name="law", host=host, gateways=[gateway, "office"])
    project = parse_project(text, Path("ggship.yaml"))
    assert project.host == host
    assert [one.name for one in project.gateways] == [gateway, "office"]
