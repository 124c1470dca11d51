"""`ggship inspect` as a user meets it: words, columns, JSON, exit codes, and what it does not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner  # noqa: TID251

from ggship.cli import cli

RUNS = Path(__file__).parents[1] / "data" / "runs"
SLOW = {
    "numpy",
    "gguf",
    "libgguf",
    "torch",
    "transformers",
    "peft",
    "httpx",
    "yaml",
    "jinja2",
    "rich",
    "huggingface_hub",
}


@pytest.fixture
def inspect():
    def call(*arguments):
        return CliRunner().invoke(cli, ["inspect", *map(str, arguments)], catch_exceptions=False)

    return call


@pytest.fixture
def law_run(run_maker, tiny_tensors):
    run_maker.adapter(tensors=tiny_tensors(layers=30), use_rslora=False)
    for step in (100, 200):
        run_maker.adapter(f"checkpoint-{step}")
    run_maker.trained(".", [100, 200], best="/elsewhere/checkpoint-100")
    run_maker.write("trainer_log.jsonl", '{"current_steps": 1}\n')
    run_maker.write("tokenizer_config.json", {"chat_template": "\n{% for m in messages %}{{ m }}\n{% endfor %}"})
    return run_maker.root


def test_says_what_a_user_wants_to_know(inspect, law_run):
    result = inspect(law_run)
    assert result.exit_code == 0
    for words in (
        str(law_run),
        "LLaMA-Factory (trainer_log.jsonl)",
        "org/tiny",
        "13,440 parameters in 60 modules",
        "q_proj   x30   r 8   alpha 16   scale 2.0   16 x 16",
        "v_proj   x30   r 8   alpha 16   scale 2.0   8 x 16",
        "checkpoint-100   1.0000      2.0000   best",
        "checkpoint-200   0.5000      1.0000",
        "tokenizer_config.json",
        "{% for m in messages %}{{ m }}",
        "every trained number can be expressed",
        "GS502 The checkpoint that training held to be best",
    ):
        assert words in result.output, words


def test_shows_how_it_was_trained_and_which_file_says_so(inspect):
    output = inspect(RUNS / "ms-swift-chat").output
    for words in (
        "ms-swift 4.6.0 (args.json has swift_version)",
        "checkpoint-20/args.json: batch size 2,",
        "learning rate 0.02",
        "prompt      template qwen2_5, system 'You answer in one sentence.'",
        "loss        5.6923 at step 1, 5.4225 at step 20",
        "eval loss   5.4277 at step 10, 5.4186 at step 20",
    ):
        assert words in output, words
    assert max(map(len, output.split("\n", 1)[1].splitlines())) <= 80
    document = json.loads(inspect(RUNS / "llama-factory-alpaca", "--json").stdout)
    assert document["trainer"]["confidence"] == "high"
    assert "### Instruction" in document["training"]["prompts"][0]["text"]
    assert {"name": "seed", "value": 11, "source": "README.md"} in document["training"]["settings"]
    assert document["training"]["curve"]["points"][0]["step"] == 2


def test_says_what_is_doubtful_of_the_training(inspect, run_maker):
    run_maker.adapter()
    run_maker.write("args.json", {"swift_version": "4.6.0", "seed": 1})
    run_maker.write("trainer_log.jsonl", '{"current_steps": 1, "loss": 1.0}\n')
    listed = "hyperparameters were used during training:\n- seed: 2\n"
    run_maker.write("README.md", listed)
    output = inspect(run_maker.root).output
    assert "doubt       seed is 1 in args.json, and 2 in README.md" in output
    unsure = "(medium confidence: args.json has swift_version; but trainer_log.jsonl (LLaMA-Factory))"
    assert unsure in " ".join(output.split())


def test_stays_within_80_columns_and_prints_no_control_characters(inspect, run_maker):
    path = run_maker.adapter(
        base_model_name_or_path="org/\x1b[31m" + "long-name-" * 30, use_dora=True, modules_to_save=["lm_head"]
    )
    run_maker.write("chat_template.jinja", "\x1b]0;title\x07" + "x" * 500)
    run_maker.trained(".", [1, 2])
    for step in range(1, 30):
        run_maker.adapter(f"checkpoint-{step}")
    output = inspect(path).output
    body = output.split("\n", 1)[1]
    assert max(map(len, body.splitlines())) <= 80
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "19 earlier ones" in output


def test_names_what_cannot_be_expressed(inspect, run_maker):
    output = inspect(run_maker.adapter(use_dora=True)).output
    assert "cannot" in output
    assert "DoRA" in output
    assert "every trained number" not in output


def test_json_has_the_documented_keys(inspect, law_run):
    document = json.loads(inspect(law_run, "--json").stdout)
    assert document["schema"] == "ggship.inspect/1"
    assert set(document) == {
        "schema", "root", "path", "chosen", "trainer", "base", "adapter", "modules", "checkpoints", "tokenizer",
        "chat_template", "training", "obstacles", "trained", "unexpressed", "findings", "notes",
    }  # fmt: skip
    assert document["modules"][0] == {
        "name": "model.layers.0.self_attn.q_proj",
        "rank": 8,
        "rank_named": 8,
        "alpha": 16.0,
        "scale": 2.0,
        "shape": [16, 16],
        "parameters": 256,
    }
    assert document["checkpoints"][0]["best"] is True
    assert document["adapter"]["parameters"] == 13440
    assert document["obstacles"] == []


def test_a_loss_that_is_not_a_number_shows_and_keeps_the_json_valid(inspect, run_maker):
    run_maker.adapter("checkpoint-5")
    run_maker.write("trainer_state.json", '{"log_history": [{"step": 5, "loss": NaN}]}')
    assert "nan" in inspect(run_maker.root).output
    document = json.loads(inspect(run_maker.root, "--json").stdout, parse_constant=pytest.fail)
    assert document["checkpoints"][0]["loss"] is None


def test_a_checkpoint_can_be_asked_for(inspect, law_run):
    document = json.loads(inspect(law_run, "--checkpoint", "best", "--json").stdout)
    assert document["path"].endswith("checkpoint-100")


def test_not_a_run_is_an_error_with_what_was_looked_for(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "ggship", "inspect", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert "looked for: adapter_config.json" in result.stderr
    assert "an empty directory" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_colour_where_none_is_wanted(law_run):
    result = subprocess.run(
        [sys.executable, "-m", "ggship", "inspect", str(law_run)],
        capture_output=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert b"\x1b" not in result.stdout


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_imports_nothing_slow(flags, law_run):
    """The bar is 300 ms; what breaks it is always an import, so the test holds the imports."""
    script = (
        "import sys; from ggship.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "inspect", str(law_run), *flags], capture_output=True, text=True, check=True
    )
    assert not SLOW & set(result.stderr.split())
