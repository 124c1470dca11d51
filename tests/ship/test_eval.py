"""`ggship eval`: the right server for each side, the very base of the package, and the truth about what is live."""

from __future__ import annotations

import pytest


@pytest.fixture
def packaged(shop):
    """A package of a model that was merged into a base on disk."""
    shop.package(evaluate=False)
    return shop


def evaluated(shop, capsys, *arguments, name="law"):
    code = shop.ggship("eval", shop.root / "out" / name, *arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_each_package_is_asked_where_it_is_live(packaged, make_server, capsys):
    first = packaged.server
    packaged.server = make_server("0.34.4")
    packaged.package("other", evaluate=False)
    assert set(first.models) == {"law:latest", "law:v1"}
    assert set(packaged.server.models) == {"other:latest", "other:v1"}
    code, _, err = evaluated(packaged, capsys, "--against", packaged.root / "out" / "other")
    assert code in (0, 3), err
    assert "is not on this server" not in err
    assert [path for path in packaged.server.paths("POST") if path == "/api/chat"]


def test_a_plain_name_is_looked_for_beside_the_model(packaged, capsys):
    packaged.server.hold("rival", b"another model")
    code, _, err = evaluated(packaged, capsys, "--against", "rival")
    assert code in (0, 3), err
    assert "rival" in {body["model"] for _, path, body in packaged.server.requests if path == "/api/chat"}


def test_a_passing_smoke_test_does_not_say_that_none_passed(packaged, capsys):
    code, out, err = evaluated(packaged, capsys)
    assert code == 0, err
    assert "checks hold" in err
    assert "0 of" not in out + err


def test_the_base_it_was_made_of_stands_beside_it(packaged, capsys):
    assert "base is" not in evaluated(packaged, capsys)[2]
    assert not [name for name in packaged.server.models if "ggship" in name]


def test_another_file_in_the_bases_place_is_no_base(packaged, tiny_base, capsys):
    tiny_base(packaged.base, seed=7)
    code, _, err = evaluated(packaged, capsys)
    assert code == 0
    assert "the base (base.gguf) cannot be asked: what is there under its name is another model" in err


def test_the_memory_of_another_package_of_the_name_is_not_believed(packaged, capsys):
    import shutil

    copy = shutil.copytree(packaged.root / "out" / "law", packaged.root / "out" / "copied")
    assert copy.is_dir()
    assert "not at hand" in evaluated(packaged, capsys, name="copied")[2]


def test_a_base_that_was_pulled_anew_is_no_base(old_shop, tiny_base, capsys):
    old_shop.serve_base("tiny")
    old_shop.package(base="ollama:tiny", evaluate=False)
    assert "cannot be asked" not in evaluated(old_shop, capsys)[2]
    old_shop.serve_base("tiny", tiny_base(old_shop.root / "newer.gguf", seed=7))
    assert "is another model" in evaluated(old_shop, capsys)[2]
    assert not [name for name in old_shop.server.models if "ggship" in name]


def test_a_live_model_that_was_never_proven_is_said(packaged, capsys):
    packaged.server.hold("law", b"made by hand")
    assert "is not the model that was proven" in evaluated(packaged, capsys)[2]


def test_rules_in_the_variable_are_split_at_semicolons_and_lines(packaged, capsys, monkeypatch):
    monkeypatch.setenv("GGSHIP_EVAL_GATES", "errors <= 0; errors < 1\nerrors == 0")
    code, out, err = evaluated(packaged, capsys)
    assert code == 0, err
    assert [line for line in out.splitlines() if "errors" in line][2:]
