"""ggship init, plan and ship, on the small server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def project(shop) -> Path:
    (shop.root / "suite.yaml").write_text(
        "version: 1\ntests: [{prompt: What?, assert: [{type: icontains, value: trained}]}]\n", encoding="utf-8"
    )
    wanted = ["init", "lora-out", "--name", "law", "--base", "base.gguf", "--suite", "suite.yaml"]
    assert shop.ggship(*wanted, "--host", shop.server.url, "--gate", "delta_pass_rate > 0") == 0
    return shop.root / "ggship.yaml"


def planned(shop, capsys, *more: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = shop.ggship("plan", "--json", *more)
    return code, json.loads(capsys.readouterr().out)


def test_the_whole_way_and_then_nothing_to_do(shop, project, capsys):
    code, before = planned(shop, capsys, "--check")
    assert code == 3
    assert before["stages"][0] == "convert"
    assert "law:latest" not in shop.server.models
    assert not (shop.root / "dist" / "law").exists()

    assert shop.ggship("ship") == 0
    assert "law:latest" in shop.server.models
    said = capsys.readouterr()
    assert "law is shipped" in said.out
    assert "delta_pass_rate > 0" in said.out

    code, after = planned(shop, capsys, "--check")
    assert (code, after["changes"], after["stages"]) == (0, 0, [])
    assert shop.ggship("ship") == 0
    assert "nothing to do" in capsys.readouterr().out


def test_what_changed_is_in_the_plan(shop, project, capsys):
    assert shop.ggship("ship") == 0
    project.write_text(project.read_text() + "package: {system: Be brief.}\n")
    code, after = planned(shop, capsys, "--check")
    assert code == 3
    assert "convert" not in after["stages"]
    assert {"create", "promote"} <= set(after["stages"])


def test_a_gate_that_fails_stops_the_way_before_anything_is_published(shop, project, capsys):
    project.write_text(project.read_text().replace("delta_pass_rate > 0", "delta_pass_rate > 1"))
    # Nothing listens there: reaching it would be another error.
    project.write_text(project.read_text() + "publish: [ollama:127.0.0.1:9/ns/law]\n")
    assert shop.ggship("ship") == 3
    assert "law:latest" not in shop.server.models
    _, plan = planned(shop, capsys)
    assert [part["change"] for part in plan["parts"]] == [True, True]


def test_ship_gives_one_document(shop, project, capsys):
    capsys.readouterr()
    assert shop.ggship("ship", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [step["command"] for step in document["steps"]] == ["package"]
    assert document["steps"][0]["result"]["name"] == "law"


def test_init_writes_over_nothing(shop, project, capsys):
    before = project.read_text()
    assert shop.ggship("init", "lora-out", "--name", "other") == 2
    assert "--force" in capsys.readouterr().err
    assert project.read_text() == before


def test_init_leaves_no_file_that_could_not_be_read(shop, capsys):
    assert shop.ggship("init", "lora-out", "--name", "law helper") == 2
    assert not (shop.root / "ggship.yaml").exists()


def test_init_proposes_a_name_and_finds_the_suite_beside_the_run(shop, capsys):
    (shop.root / "suite.yaml").write_text("version: 1\ntests: [{prompt: What?}]\n")
    assert shop.ggship("init", "lora-out") == 0
    text = (shop.root / "ggship.yaml").read_text()
    assert "suite: ./suite.yaml" in text
    assert f"name: {shop.root.name.casefold()}" in text.replace('"', "")
