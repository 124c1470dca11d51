"""Marks of two trainers, files that disagree, and files that mean harm: it is said, or it proves nothing."""

from __future__ import annotations

import json
import time

import pytest

from ggship.runs import read_run
from ggship.runs.blend import blend
from ggship.runs.curve import thinned, trainer_document, training_document
from ggship.runs.model import Logged, Share
from ggship.runs.training import Setting

AXOLOTL = "<summary>See axolotl config</summary>\n\naxolotl version: `0.19.0`\n```yaml\n{}\n```\n"
FACTORY = '{"current_steps": 5, "total_steps": 9, "loss": 2.5, "lr": 0.1}\n'


def test_sure_marks_of_two_trainers_lower_confidence_and_are_both_named(run_maker):
    run_maker.adapter()
    run_maker.write("README.md", AXOLOTL.format("learning_rate: 2e-4"))
    run_maker.write("trainer_log.jsonl", FACTORY)
    trainer = read_run(run_maker.root).trainer
    assert (trainer.name, trainer.confidence) == ("Axolotl", "medium")
    assert trainer.against == ("trainer_log.jsonl (LLaMA-Factory)",)
    assert trainer.evidence == "README.md holds its configuration; but trainer_log.jsonl (LLaMA-Factory)"


def test_weak_marks_of_two_trainers_are_low(run_maker):
    run_maker.adapter()
    run_maker.write("README.md", "---\ntags: [llama-factory]\n---\n")
    run_maker.write("adapters.safetensors", b"")
    trainer = read_run(run_maker.root).trainer
    assert trainer.confidence == "low"
    assert len(trainer.against) == 1


@pytest.mark.parametrize(
    ("tags", "base", "name", "confidence"),
    [
        ("trl", "org/x", "TRL", "medium"),
        ("unsloth, trl", "org/x", "Unsloth", "medium"),
        ("llama-factory, unsloth, trl", "unsloth/x-bnb-4bit", "LLaMA-Factory", "medium"),
        ("lora", "unsloth/x-bnb-4bit", "Unsloth", "medium"),
        ("lora", "unsloth/x", "PEFT", "medium"),
    ],
)
def test_what_a_trainer_works_through_does_not_speak_against_it(tags, base, name, confidence, run_maker):
    run_maker.adapter(base_model_name_or_path=base)
    run_maker.write("README.md", f"---\ntags: [{tags}]\n---\n")
    trainer = read_run(run_maker.root).trainer
    assert (trainer.name, trainer.confidence, trainer.against) == (name, confidence, ())


def test_peft_is_sure_of_itself_where_it_left_its_version(run_maker):
    trainer = read_run(run_maker.adapter(peft_version="0.21.2")).trainer
    assert (trainer.name, trainer.version, trainer.confidence) == ("PEFT", "0.21.2", "high")


def test_files_that_disagree_are_told(run_maker):
    run_maker.adapter()
    run_maker.write("args.json", {"swift_version": "4.6.0", "learning_rate": 1e-4, "seed": 7})
    listed = "The following hyperparameters were used during training:\n- learning_rate: 0.0002\n- seed: 7\n"
    run_maker.write("README.md", listed)
    training = read_run(run_maker.root).training
    assert training.setting("learning_rate").value == 1e-4
    assert training.doubts == ("learning_rate is 0.0001 in args.json, and 0.0002 in README.md",)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "9" * 400, '"1e999"', "[1]", "null", '"fast"'])
def test_a_number_that_is_none_is_no_setting(value, run_maker):
    run_maker.adapter()
    run_maker.write("args.json", f'{{"swift_version": "4.6.0", "learning_rate": {value}, "seed": 7}}')
    assert [setting.name for setting in read_run(run_maker.root).training.settings] == ["seed"]


WRITTEN = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% endif %}{% for m in loop_messages %}"
)


@pytest.mark.parametrize(
    ("template", "its_own"),
    [
        (WRITTEN, True),
        ("{{ '<s>' }}" + WRITTEN, True),
        ("{% set system_message = 'Be brief.' %}" + WRITTEN, True),
        (WRITTEN + "{% if add_generation_prompt %}x{% endif %}", False),
        ("{% for tool in tools %}{{ tool }}{% endfor %}" + WRITTEN, False),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", False),
    ],
)
def test_only_a_chat_template_that_llama_factory_wrote_is_its_prompt(template, its_own, run_maker):
    run_maker.adapter()
    run_maker.write("trainer_log.jsonl", FACTORY)
    run_maker.write("chat_template.jinja", template)
    prompts = read_run(run_maker.root).training.prompts
    assert [(prompt.kind, prompt.text) for prompt in prompts] == ([("jinja", template)] if its_own else [])


def test_ms_swift_without_a_chat_template_trained_on_plain_text(run_maker):
    run_maker.adapter()
    run_maker.write("args.json", {"swift_version": "4.6.0", "template": "qwen3", "use_chat_template": False})
    template = read_run(run_maker.root).training.template
    assert (template.kind, template.name) == ("plain", "")


def test_the_system_text_that_is_served_is_the_one_that_was_trained_with(run_maker):
    system = f"Answer as build {'0123456789abcdef' * 3} does."
    run_maker.adapter()
    run_maker.write("args.json", {"swift_version": "4.6.0", "template": "qwen3", "system": system})
    run = read_run(run_maker.root)
    assert run.training.template.system == system
    assert "0123456789abcdef" not in json.dumps(training_document(run, whole=True))


def test_secrets_and_paths_stay_in_the_run(run_maker):
    token = "hf_" + "Ab1" * 12
    run_maker.adapter()
    run_maker.write(
        "args.json",
        {
            "swift_version": "4.6.0",
            "template": "/home/petra/templates/mine",
            "system": f"You are Ada. Your key is {token}.",
            "hub_token": token,
            "swanlab_token": "0123456789abcdef0123456789abcdef01234567",
            "optim": "/opt/petra/optim.py",
            "dataset": [
                "/home/petra/law.jsonl#500",
                "C:\\petra\\tax.json",
                "AI-ModelScope/alpaca-gpt4-data-zh#500",
                "swift/self-cognition:qwen3#100",
                f"https://user:{token}@host/petra/data.csv?key={token}",
                "./petra/more.jsonl",
                "data/petra.d",
            ],
            "output_dir": "/home/petra/out",
            "logging_dir": "/home/petra/out/runs",
        },
    )
    run = read_run(run_maker.root)
    text = json.dumps([training_document(run, whole=True), trainer_document(run.trainer)])
    assert token not in text
    assert "0123456789abcdef" not in text
    assert "/home" not in text
    assert "user:" not in text
    found = {setting.name: setting.value for setting in run.training.settings}
    assert found["datasets"] == (
        "law.jsonl#500",
        "tax.json",
        "AI-ModelScope/alpaca-gpt4-data-zh#500",
        "swift/self-cognition:qwen3#100",
        "data.csv",
        "more.jsonl",
        "data/petra.d",
    )
    assert found["system"] == "You are Ada. Your key is ***."
    assert "optimizer" not in found
    assert run.training.prompts == ()


def test_a_chat_template_of_axolotl_that_is_a_file_elsewhere_is_the_saved_one(run_maker):
    run_maker.adapter()
    config = {
        "chat_template": "jinja",
        "chat_template_jinja": "/home/petra/mine.jinja",
        "datasets": [{"path": "a.jsonl", "type": "chat_template"}],
    }
    run_maker.write("README.md", AXOLOTL.format(json.dumps(config)))
    assert read_run(run_maker.root).training.prompts == ()
    run_maker.write("chat_template.jinja", "{{ messages }}")
    assert read_run(run_maker.root).training.template.text == "{{ messages }}"


MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name}\n  <<: [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "yaml",
    [
        "top.template: !!python/object/apply:os.system ['touch owned']",
        "top.template: qwen\nx: " + "[" * 3000,
        "top.template: qwen\n" + "{" * 50_000,
        "top.template: qwen\n" + "a: b\n" * 60_000,
        f"top.template: qwen\n{MERGES}",
        "top.template: &a [*a]",
        "top.template: 2026-13-77",
        "? [top.template]\n: x",
        "\x00top.template: qwen",
        "top.template: " + "9" * 60_000,
        "- top.template",
    ],
)
def test_yaml_that_means_harm_proves_nothing_quickly(yaml, run_maker, monkeypatch):
    monkeypatch.chdir(run_maker.root)
    run_maker.adapter()
    run_maker.write("llamaboard_config.yaml", yaml)
    began = time.process_time()
    run = read_run(run_maker.root)
    assert time.process_time() - began < 10
    assert run.training.prompts == ()
    assert not (run_maker.root / "owned").exists()


@pytest.mark.parametrize(
    "content",
    [
        "---\ntags:" + "\n" * 200_000 + "x",
        "---\n" + "tags:\n" * 40_000,
        "See axolotl config" * 14_000,
        "This model is a fine-tuned version of " * 6_000,
        "\n" * 250_000,
        "hyperparameters were used during training:" + "\n- a: b" * 30_000,
        " " * 250_000 + "- PEFT 1",
    ],
)
def test_no_model_card_takes_seconds(content, run_maker):
    run_maker.adapter()
    run_maker.write("README.md", content)
    began = time.process_time()
    read_run(run_maker.root)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "name",
    ["args.json", "trainer_log.jsonl", "logging.jsonl", "README.md", "torchtune_config.yaml", "debug.log", "logs"],
)
def test_links_out_of_the_run_are_not_followed(name, run_maker, tmp_path):
    run_maker.adapter()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "log_1.txt").write_text("Step 1 | loss:1.0 \n")
    contents = {
        "args.json": '{"swift_version": "4.6.0"}',
        "trainer_log.jsonl": FACTORY,
        "logging.jsonl": '{"loss": 1.0, "global_step/max_steps": "1/2"}\n',
        "README.md": AXOLOTL.format("seed: 1"),
        "torchtune_config.yaml": "seed: 1",
        "debug.log": '\n{"axolotl_config_path": "x",\n"seed": 1\n}',
    }
    target = outside if name == "logs" else outside / name
    if name != "logs":
        target.write_text(contents[name])
    (run_maker.root / name).symlink_to(target)
    run = read_run(run_maker.root)
    assert run.training.settings == ()
    assert run.history.curve == ()


def test_rows_of_a_log_that_are_no_numbers_are_left_out(run_maker):
    run_maker.adapter()
    rows = [
        '{"current_steps": 1, "loss": 3.0, "note": [1, 2], "vram_allocated": 9.5}',
        '{"current_steps": 2, "loss": NaN}',
        '{"current_steps": "3", "loss": 1.0}',
        '{"current_steps": 4, "loss": 1.0, "x": ' + "[" * 70_000,
        '{"current_steps": 4, "loss": 1.0, "x": "' + "x" * 70_000 + '"}',
        "[1]",
        '{"current_steps": 5, "eval_loss": 1.5, "lr": 0.1}',
        '{"current_steps": 6, "los',
    ]
    run_maker.write("trainer_log.jsonl", "\n".join(rows))
    run = read_run(run_maker.root)
    document = training_document(run, whole=False)["curve"]
    assert document["points"] == [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": None},
        {"step": 5, "eval_loss": 1.5, "learning_rate": 0.1},
    ]
    assert (document["source"], document["logged"]) == ("trainer_log.jsonl", 3)


def test_a_long_curve_keeps_its_ends_and_its_evaluations():
    curve = [Logged(step, {"eval_loss": 1.0} if step % 100 == 50 else {"loss": 1.0}) for step in range(2000)]
    kept = thinned(curve)
    assert len(kept) == 200
    assert (kept[0].step, kept[-1].step) == (0, 1999)
    assert [point.step for point in kept if "eval_loss" in point.values] == list(range(50, 2000, 100))
    assert thinned(curve[:150]) == tuple(curve[:150])


def test_a_blend_says_of_its_training_what_is_true_of_all(run_maker):
    for name, template in (("one", "qwen3"), ("two", "qwen3"), ("three", "llama3")):
        run_maker.adapter(name)
        run_maker.write(f"{name}/args.json", {"swift_version": "4.6.0", "template": template, "seed": 7})
    one, two, three = (Share(read_run(run_maker.root / name), 0.5) for name in ("one", "two", "three"))
    alike, unlike = blend([one, two]), blend([one, three])
    assert alike.training.settings == ()
    assert alike.training.template.name == "qwen3"
    assert alike.trainer.name == "ms-swift"
    assert unlike.training.template is None
    (run_maker.root / "three" / "args.json").unlink()
    assert blend([one, Share(read_run(run_maker.root / "three"), 1.0)]).trainer is None


def test_a_blend_is_served_with_the_longest_context_that_one_of_its_runs_saw(run_maker):
    for name, length in (("short", 2048), ("long", 8192), ("unknown", None)):
        run_maker.adapter(name)
        run_maker.write(f"{name}/args.json", {"swift_version": "4.6.0", "template": "qwen3", "max_length": length})
    shares = [Share(read_run(run_maker.root / name), 0.5) for name in ("short", "long", "unknown")]
    assert blend(shares).training.settings == (Setting("sequence_length", 8192, "long: args.json"),)
    assert blend([shares[2], shares[2]]).training.settings == ()
