"""What was found on a run is told while packaging, once, and stands in the package."""

from __future__ import annotations

import json

import pytest

from ggship.errors import Refused


@pytest.fixture(autouse=True)
def ends_are_seen(shop, tiny_run):
    """The template of these runs writes nothing behind an answer, which is a warning of its own."""
    tiny_run(shop.run)
    (shop.run / "tokenizer_config.json").write_text('{"add_eos_token": true}')


def test_warnings_are_told_once_and_stand_in_the_package(shop, tiny_run, capfd):
    tiny_run(shop.run, use_magic=True)
    assert shop.ggship("package", shop.run, "--name", "law", "--base", shop.base, "--runtime", "none") == 0
    assert capfd.readouterr().err.count("GS102") == 1
    document = json.loads((shop.root / "dist" / "law" / "ggship.json").read_text())
    (finding,) = document["findings"]
    assert (finding["code"], finding["level"], finding["evidence"]) == ("GS102", "warning", "use_magic is True")


def test_the_schema_knows_findings(shop, tiny_run):
    jsonschema = pytest.importorskip("jsonschema")
    from ggship.settings import templates_dir

    tiny_run(shop.run, use_magic=True)
    document = shop.package(runtime="none").info.document
    schema = json.loads((templates_dir() / "schemas" / "ggship.schema.json").read_text())
    jsonschema.validate(json.loads(json.dumps(document)), schema)
    assert document["findings"]


def test_strict_stops_at_a_warning_before_any_work(shop, tiny_run, capfd):
    tiny_run(shop.run, use_magic=True)
    with pytest.raises(Refused, match="GS102"):
        shop.package(strict=True)
    assert not (shop.root / "out").exists()
    for command in (
        ("convert", shop.run, "--out", shop.root / "a.gguf"),
        ("merge", shop.run, "--out", shop.root / "m.gguf"),
        ("inspect", shop.run),
    ):
        assert shop.ggship(*command, "--base", shop.base, "--strict") == 4
        assert "GS102" in capfd.readouterr().err
    assert not (shop.root / "a.gguf").exists()
    assert not (shop.root / "m.gguf").exists()


def test_strict_is_content_with_notes(shop, tiny_run):
    tiny_run(shop.run, base_model_name_or_path="org/Tiny-Llama-bnb-4bit")
    document = shop.package(strict=True, runtime="none").info.document
    assert [finding["code"] for finding in document["findings"]] == ["GS405"]
