"""Parameters reach the server, the Modelfile, ggship.json and the card, each with its source."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from ggship.modelfile import parse
from ggship.releases.opened import package_spec

SCHEMA = Path(__file__).parents[2] / "templates" / "schemas" / "ggship.schema.json"


def test_recorded_and_asked_for_they_are_everywhere(shop):
    (shop.run / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.6, "top_k": 20}))
    package = shop.package(parameters=("top_k=5", "num_ctx=512"), evaluate=False).info
    expected = {"temperature": 0.6, "top_k": 5, "num_ctx": 512}
    served = shop.server.models["law:latest"].parameters
    assert {name: served[name] for name in expected} == expected
    written = parse((package.path / "Modelfile").read_text())
    assert {name: value for name, value in written.parameters if name != "stop"} == expected
    jsonschema.validate(dict(package.document), json.loads(SCHEMA.read_text()))
    sources = {item["name"]: item["source"] for item in package.document["parameters"]}
    assert sources["temperature"] == "generation_config.json of the run: temperature"
    assert sources["top_k"] == "as you asked"
    assert (
        "temperature 0.6 (generation\\_config.json of the run: temperature)" in (package.path / "README.md").read_text()
    )


def test_the_plan_says_them(shop, capsys):
    (shop.run / "generation_config.json").write_text('{"temperature": 0.6, "do_sample": true}')
    arguments = [shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url, "--dry-run"]
    assert shop.ggship("package", *arguments, "--parameter", "top_p=0.5") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "temperature 0.6: generation_config.json of the run: temperature" in out
    assert "top_p 0.5: as you asked" in out
    assert shop.ggship("package", *arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out)["parameters"][0]["name"] == "temperature"
    assert shop.ggship("package", *arguments, "--parameter", "heat=1") == 2
    assert "Ollama knows no parameter 'heat'" in capsys.readouterr().err


def test_what_the_modelfile_cannot_say_comes_from_the_document(shop):
    system = "\u3000\u3000回答要简明。"
    package = shop.package(system=system, evaluate=False, force=True).info  # this server makes other prompts
    assert parse((package.path / "Modelfile").read_text()).system != system
    spec = package_spec(package)
    assert spec.system == system
    assert spec.parameters["stop"] == package.document["prompt"]["stops"]
