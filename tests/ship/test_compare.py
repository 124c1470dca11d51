"""`ggship compare`: packages, models of the server and addresses side by side, each asked once."""

from __future__ import annotations

import json

import pytest

SUITE = """
version: 1
gates: [pass_rate >= 0.5]
tests:
  - {id: one, prompt: one, assert: [{type: icontains, value: trained}]}
  - {id: two, prompt: two, assert: [{type: icontains, value: words}]}
"""


@pytest.fixture
def packaged(shop):
    """A package whose suite it passes, and two other models beside it on the server."""
    (shop.root / "suite.yaml").write_text(SUITE)
    shop.package(suite=shop.root / "suite.yaml")
    shop.server.requests.clear()
    for name in ("rival", "worse"):
        shop.server.hold(name, name.encode())
    answers = {"rival": "Trained words too.", "worse": "A base."}
    shop.server.answer = lambda request: answers.get(request["model"], "Trained words.")
    return shop


def compared(shop, capsys, *arguments):
    code = shop.ggship("compare", *arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def asked(shop):
    chats = [body for _, path, body in shop.server.requests if path == "/api/chat"]
    answered = [body for body in chats if not body.get("_debug_render_only")]
    return [body["model"] for body in answered if body["messages"][-1]["content"] != "Hi"]


def test_packages_and_models_of_the_server_are_compared(packaged, capsys):
    law = packaged.root / "out" / "law"
    code, out, err = compared(packaged, capsys, law, "rival", "worse")
    assert code == 3, err
    assert asked(packaged) == ["law", "law", "rival", "rival", "worse", "worse"]
    assert "The questions are those of law" in err
    assert "worse did not pass" in err
    assert "regressions: one, two" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("note")) <= 80
    assert not [name for name in packaged.server.models if "ggship" in name]


def test_one_json_document_and_the_reports_of_each_pair(packaged, capsys):
    out = packaged.root / "seen"
    law = packaged.root / "out" / "law"
    code, text, _ = compared(packaged, capsys, law, "rival", "--json", "--out", out)
    document = json.loads(text)
    assert code == 0
    assert document["passed"] is True
    assert [model["name"] for model in document["models"]] == ["law", "rival"]
    assert json.loads((out / "compare.json").read_text()) == document
    assert "Standings" in (out / "compare.html").read_text()
    assert (out / "rival" / "report.html").is_file()


def test_the_exit_code_the_verdict_and_the_document_say_the_same(packaged, capsys):
    law = packaged.root / "out" / "law"
    for gate in ("pass_rate >= 1", "regressions <= 0", "delta_pass_rate >= 0", "errors < 0"):
        for rival in ("rival", "worse"):
            code, text, err = compared(packaged, capsys, law, rival, "--no-suite-gates", "--gate", gate, "--json")
            document = json.loads(text)
            gates = [each for model in document["models"] for each in model["gates"]]
            assert [each["rule"] for each in gates] == [gate]
            passed = rival == "rival" and "errors" not in gate
            assert (code, document["passed"], gates[0]["passed"]) == (0 if passed else 3, passed, passed)
            assert ("did not pass" in err) is not passed


def test_the_base_of_the_package_can_be_the_baseline(packaged, capsys):
    packaged.server.answer = lambda request: "A base." if "ggship-base" in request["model"] else "Trained words."
    code, text, err = compared(packaged, capsys, packaged.root / "out" / "law", "--baseline", "base", "--json")
    assert code == 0, err
    document = json.loads(text)
    assert [model["score"]["pass_rate"] for model in document["models"]] == [0.0, 1.0]
    assert not [name for name in packaged.server.models if "ggship" in name]


def test_answers_of_another_time_are_told_of_and_asked_again_where_that_is_wanted(packaged, capsys):
    law = packaged.root / "out" / "law"
    first = compared(packaged, capsys, "rival", law, "worse")
    assert first[0] == 3
    assert "kept from before" not in first[2]
    packaged.server.requests.clear()
    again = compared(packaged, capsys, "rival", law, "worse")
    assert again[2].count("2 answers of the baseline are kept from before; --fresh asks again") == 1
    assert asked(packaged) == ["law", "law", "worse", "worse"]
    packaged.server.requests.clear()
    fresh = compared(packaged, capsys, "rival", law, "worse", "--fresh")
    assert "kept from before" not in fresh[2]
    assert asked(packaged) == ["rival", "rival", "law", "law", "worse", "worse"]


def test_a_slip_in_the_last_name_is_found_before_anything_is_asked(packaged, capsys):
    code, _, err = compared(packaged, capsys, packaged.root / "out" / "law", "rival", "rivall")
    assert code == 1
    assert "nothing is named rivall" in err
    assert asked(packaged) == []


def test_what_cannot_be_compared_says_why(packaged, capsys, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", packaged.server.url)
    for arguments, said in (
        (["rival", "worse"], "nothing to ask"),
        (["rival", "rival", "--suite", "suite.yaml"], "named twice"),
        (["rival", "--suite", "suite.yaml"], "no comparison"),
        (["rival", "worse", "--baseline", "base", "--suite", "suite.yaml"], "no base to compare"),
    ):
        code, _, err = compared(packaged, capsys, *arguments)
        assert code in (1, 2)
        assert said in err
    assert asked(packaged) == []
