"""How a run was trained goes into the package and the card, and the machine that trained does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

SCHEMA = Path(__file__).parents[2] / "templates" / "schemas" / "ggship.schema.json"
RUNS = Path(__file__).parents[1] / "data" / "runs"
LEFT = ("README.md", "args.json", "trainer_log.jsonl", "trainer_state.json", "training_args.yaml")


def trained_as(shop, name):
    """Put what a real trainer wrote of its work beside the adapter of the shop."""
    for file in (RUNS / name).rglob("*"):
        if file.name in LEFT:
            shutil.copy(file, shop.run / file.name)


@pytest.mark.parametrize(
    ("name", "words", "prompt"),
    [
        ("llama-board", "trained with LLaMA-Factory", "template qwen3\\_nothink, thinking off"),
        ("ms-swift-chat", "trained with ms-swift 4.6.0", "template qwen2\\_5, system: You answer in one sentence."),
    ],
)
def test_the_package_and_its_card_say_how_it_was_trained(name, words, prompt, old_shop):
    trained_as(old_shop, name)
    # The shop's server renders this, and not what those trainers recorded.
    package = old_shop.package(evaluate=False, template=str(old_shop.run / "chat_template.jinja")).info
    jsonschema.validate(dict(package.document), json.loads(SCHEMA.read_text()))
    training = package.document["run"]["training"]
    assert {"learning_rate": 0.02, "seed": 7}.items() <= {
        setting["name"]: setting["value"] for setting in training["settings"] if setting["name"] != "datasets"
    }.items()
    assert len(training["curve"]["points"]) == training["curve"]["logged"] >= 10
    card = (package.path / "README.md").read_text()
    assert words in card
    assert f"| prompt | {prompt} |" in card
    assert "| learning rate | 0.02 | " in card
    steps = [line.split(" | ")[0][2:] for line in card.splitlines() if line.startswith("| ")]
    assert (steps.count("2"), steps.count("20")) == (1, 1)
    assert sum(step.isdigit() for step in steps) == 10
    for file in ("README.md", "ggship.json"):
        assert "/home/petra" not in (package.path / file).read_text(), file


def test_what_is_not_sure_and_what_is_no_number_is_said(old_shop):
    card = "---\ntags: [axolotl]\n---\n<summary>See axolotl config</summary>\n```yaml\nseed: 1\n```\n- TRL: <b>1</b>\n"
    (old_shop.run / "README.md").write_text(card)
    (old_shop.run / "args.json").write_text(json.dumps({"swift_version": "<b>", "seed": 1, "loss_scale": "a_b"}))
    rows = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": float("nan")}]
    (old_shop.run / "trainer_state.json").write_text(json.dumps({"log_history": rows}))
    package = old_shop.package(evaluate=False).info
    training = json.loads((package.path / "ggship.json").read_text(), parse_constant=pytest.fail)["run"]["training"]
    assert training["trainer"]["confidence"] == "medium"
    assert training["trainer"]["against"] == ["README.md holds its configuration (Axolotl)"]
    assert training["curve"]["points"][1] == {"step": 2, "loss": None}
    written = (package.path / "README.md").read_text()
    assert "| 2 | not a number |  |" in written
    assert "medium confidence: args.json has swift\\_version; but README.md holds its configuration" in written
    assert "<b>" not in written


def test_another_setting_is_another_document(old_shop):
    (old_shop.run / "args.json").write_text(json.dumps({"swift_version": "4.6.0", "seed": 7}))
    old_shop.package(evaluate=False)
    (old_shop.run / "args.json").write_text(json.dumps({"swift_version": "4.6.0", "seed": 8}))
    again = old_shop.package(evaluate=False)
    assert again.ran == ("describe",)
    assert again.info.document["run"]["training"]["settings"] == [{"name": "seed", "value": 8, "source": "args.json"}]
