"""Every option has an environment variable, and --help names it."""

from __future__ import annotations

import re

import pytest

from ggship.cli import SECTIONS, cli
from ggship.cli.funnel import run

COMMANDS = [name for commands in SECTIONS.values() for name in commands]


def below(command, path):
    """The command and those below it, each with what one types for it."""
    found = [(path, command)]
    for name, inner in getattr(command, "commands", {}).items():
        found += below(inner, (*path, name))
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_variable_of_every_option(name, capsys):
    for path, each in below(cli.get_command(None, name), (name,)):
        assert run(cli, [*path, "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        for option in [parameter for parameter in each.params if parameter.param_type_name == "option"]:
            variable = option.envvar or "_".join(("GGSHIP", *path, option.name)).upper().replace("-", "_")
            assert re.search(rf"env var: {variable}\b", text), (path, option.name)


def test_a_version_that_someone_pins_is_no_wish_to_see_it(monkeypatch, capsys):
    monkeypatch.setenv("GGSHIP_VERSION", "0.1.0")
    assert run(cli, ["inspect", "--help"]) == 0
    assert "Usage: ggship inspect" in capsys.readouterr().out
