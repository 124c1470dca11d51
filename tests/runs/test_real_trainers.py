"""Runs that the real programs left (tests/data/runs, made by scripts/trainer-runs/make) are read for what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ggship.runs import read_run
from ggship.runs.curve import training_document

RUNS = Path(__file__).parents[1] / "data" / "runs"

TRAINERS = {
    "axolotl-alpaca": ("Axolotl", "0.19.0"),
    "axolotl-chat": ("Axolotl", "0.19.0"),
    "llama-board": ("LLaMA-Factory", ""),  # it writes its own version nowhere
    "llama-factory-alpaca": ("LLaMA-Factory", ""),
    "llama-factory-chat": ("LLaMA-Factory", ""),
    "ms-swift-chat": ("ms-swift", "4.6.0"),
    "trl-chat": ("TRL", "1.16.0"),
}
SETTINGS = {
    "axolotl-alpaca": {"learning_rate": 0.02, "epochs": 2, "sequence_length": 256, "seed": 11},
    "axolotl-chat": {"optimizer": "adamw_torch", "template": "chatml", "datasets": ("chat.json",), "max_steps": 19},
    "llama-board": {"template": "qwen3_nothink", "thinking": False, "sequence_length": 256, "datasets": ("sums_chat",)},
    "llama-factory-alpaca": {"scheduler": "linear", "seed": 11, "datasets": ("sums_alpaca",), "max_steps": 20},
    "llama-factory-chat": {"learning_rate": 0.02, "scheduler": "cosine", "epochs": 2.0, "batch_size": 2},
    "ms-swift-chat": {"template": "qwen2_5", "system": "You answer in one sentence.", "weight_decay": 0.1, "seed": 7},
    "trl-chat": {"epochs": 2, "batch_size": 2, "max_steps": 20},
}  # fmt: skip
PROMPTS = {
    "axolotl-alpaca": ("dataset", "alpaca", "README.md"),
    "axolotl-chat": ("template", "chatml", "README.md"),
    "llama-board": ("template", "qwen3_nothink", "training_args.yaml"),
    "llama-factory-alpaca": ("jinja", "", "chat_template.jinja"),
    "ms-swift-chat": ("template", "qwen2_5", "checkpoint-20/args.json"),
}


def test_every_run_that_was_made_is_tested():
    assert {path.name for path in RUNS.iterdir() if path.is_dir()} == TRAINERS.keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", TRAINERS)
def test_the_trainer_and_its_version(name):
    trainer = read_run(RUNS / name).trainer
    assert trainer is not None
    assert (trainer.name, trainer.version, trainer.confidence) == (*TRAINERS[name], "high")
    assert trainer.against == ()


@pytest.mark.parametrize("name", TRAINERS)
def test_a_checkpoint_of_it_tells_the_same(name):
    last = max((RUNS / name).glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    run = read_run(last)
    assert run.path == last
    assert run.trainer is not None
    assert run.trainer.name == TRAINERS[name][0]


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_those_of_the_commands(name):
    training = read_run(RUNS / name).training
    found = {setting.name: setting.value for setting in training.settings}
    assert {key: found.get(key) for key in SETTINGS[name]} == SETTINGS[name]
    assert training.doubts == ()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_names_a_file_that_is_there(name):
    run = read_run(RUNS / name)
    for setting in run.training.settings:
        assert (RUNS / name / setting.source).is_file(), setting


@pytest.mark.parametrize("name", TRAINERS)
def test_how_prompts_were_made(name):
    template = read_run(RUNS / name).training.template
    found = (template.kind, template.name, template.source) if template else None
    assert found == PROMPTS.get(name)
    assert template is None or template.confidence == "high"


def test_what_llama_board_was_told_of_thinking_and_ms_swift_of_the_system_text():
    board, swift = (read_run(RUNS / name).training.template for name in ("llama-board", "ms-swift-chat"))
    assert (board.thinking, board.system) == (False, None)
    assert (swift.thinking, swift.system) == (None, "You answer in one sentence.")


def test_llama_factorys_own_chat_template_is_taken_as_the_prompt_of_training():
    template = read_run(RUNS / "llama-factory-alpaca").training.template
    assert "### Instruction:" in template.text
    # `template: qwen` left the tokenizer's own chat template, which any other template would have left too
    assert read_run(RUNS / "llama-factory-chat").training.prompts == ()


@pytest.mark.parametrize("name", TRAINERS)
def test_the_curve_is_what_training_logged(name):
    history = read_run(RUNS / name).history
    assert (RUNS / name / history.source).is_file()
    losses = [loss for _, loss, _ in history.points if loss is not None]
    evals = [loss for _, _, loss in history.points if loss is not None]
    assert len(losses) in (9, 10, 11)
    assert losses[-1] < losses[0]
    assert len(evals) in (2, 3)
    rates = [logged.values["learning_rate"] for logged in history.curve if "learning_rate" in logged.values]
    assert len(rates) == len(losses)
    assert not any("runtime" in key or "per_second" in key for logged in history.curve for key in logged.values)


@pytest.mark.parametrize("name", ["llama-factory-chat", "llama-board", "ms-swift-chat"])
def test_without_a_state_the_log_of_the_trainer_gives_the_same_curve(name, tmp_path):
    import shutil

    copy = tmp_path / name
    shutil.copytree(RUNS / name, copy)
    whole = read_run(copy).history
    for state in copy.rglob("trainer_state.json"):
        state.unlink()
    logged = read_run(copy).history
    assert logged.source in ("trainer_log.jsonl", "logging.jsonl")
    assert [point[0] for point in logged.points] == [point[0] for point in whole.points]
    for ours, theirs in zip(logged.points, whole.points, strict=True):
        assert ours[1:] == pytest.approx(theirs[1:], abs=1e-6)


@pytest.mark.parametrize("name", TRAINERS)
def test_no_path_of_the_machine_that_trained_leaves_the_run(name):
    text = json.dumps(training_document(read_run(RUNS / name), whole=False))
    assert "/home" not in text
    assert "petra" not in text
    assert "data/" not in text
